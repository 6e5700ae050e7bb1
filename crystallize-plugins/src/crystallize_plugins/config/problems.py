"""What is wrong with a configuration: each problem with its place, all of them in one error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CONFIG_FILE", "MOST_PROBLEMS", "Place", "Problem", "Problems"]

CONFIG_FILE = "config.yaml"
MOST_PROBLEMS = 100
"""With so many of them, nobody wants to wait for the rest."""


class Place(NamedTuple):
    """Where something stands.

    Attributes
    ----------
    file : str
        A path as it was given, or ``"override 2"``.
    line, column : int
        Counted from 1.
    """

    file: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration.

    Attributes
    ----------
    file : str
        The file that it is in, or ``"override 2"`` for the second override.
    line, column : int
        Where in the file, counted from 1.
    message : str
        What was found, and what was expected.
    advice : str
        What to do about it.

    Examples
    --------
    >>> print(Problem("config.yaml", 3, 13, "replicates must be a whole number, not the text 'many'", "Write 30"))
    config.yaml, line 3, column 13: replicates must be a whole number, not the text 'many'. Write 30
    """

    file: str
    line: int
    column: int
    message: str
    advice: str

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.file, self.line, self.column)

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, column {self.column}: {self.message}. {self.advice}".rstrip()


class Problems:
    """Collects mistakes, so that all of them are said at once.

    Parameters
    ----------
    what : str, default "config.yaml"
        What is read, for the message.

    Examples
    --------
    >>> problems = Problems()
    >>> problems.add(Place("config.yaml", 2), "seed must be a whole number, not the text 'x'", "Write, say, seed: 7")
    >>> len(problems)
    1
    """

    def __init__(self, what: str = CONFIG_FILE) -> None:
        self._what = what
        self._found: dict[Problem, None] = {}
        self._settled: set[Place] = set()
        self._cause: BaseException | None = None

    def add(
        self, place: Place, message: str, advice: str, *, cause: BaseException | None = None, final: bool = False
    ) -> None:
        """Note one mistake.

        Parameters
        ----------
        place : Place
        message, advice : str
            As in `Problem`.
        cause : BaseException, optional
            What was raised; the first one becomes the cause of the error.
        final : bool, default False
            Whether nothing more is to be said of this place: what is there would be misread.

        Raises
        ------
        ConfigurationError
            There are `MOST_PROBLEMS` by now.
        """
        problem = Problem(*place, message.rstrip(" ."), advice)
        if place not in self._settled:
            self._found[problem] = None
        if final:
            self._settled.add(place)
        self._cause = self._cause or cause
        if len(self._found) >= MOST_PROBLEMS:
            self.check()

    def check(self) -> None:
        """Raise everything that was found, in the order of the places.

        Raises
        ------
        ConfigurationError
            There is at least one problem; they are its ``problems``.
        """
        if not self._found:
            return
        files = list(dict.fromkeys(problem.file for problem in self._found))
        ordered = sorted(self._found, key=lambda problem: (files.index(problem.file), problem.line, problem.column))
        if len(ordered) == 1:
            text = str(ordered[0])
        else:
            more = ", and maybe more" if len(ordered) >= MOST_PROBLEMS else ""
            listed = "\n".join(f"  {problem}" for problem in ordered)
            text = f"{self._what} has {len(ordered)} problems{more}:\n{listed}"
        raise ConfigurationError(text, problems=ordered) from self._cause

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

"""What is wrong with a configuration: each problem with its place, all of them in one error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Place", "Problem", "Problems"]


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

    Examples
    --------
    >>> problems = Problems()
    >>> problems.add(Place("config.yaml", 2), "seed must be a whole number, not the text 'x'", "Write, say, seed: 7")
    >>> len(problems)
    1
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []
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
        """
        problem = Problem(*place, message.rstrip(" ."), advice)
        if place not in self._settled and problem not in self._found:
            self._found.append(problem)
        if final:
            self._settled.add(place)
        self._cause = self._cause or cause

    def check(self, what: str) -> None:
        """Raise everything that was found, in the order of the places.

        Parameters
        ----------
        what : str
            What was read, for the message.

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
            text = f"{what} has {len(ordered)} problems:\n" + "\n".join(f"  {problem}" for problem in ordered)
        raise ConfigurationError(text, problems=ordered) from self._cause

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

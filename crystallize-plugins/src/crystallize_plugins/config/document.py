"""One config.yaml while it is made into an experiment: its nodes, what is wrong with it so far, and its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import CrystallizeError
from crystallize.hooks.tools import did_you_mean
from crystallize_plugins.config.values import MapNode, Node, ScalarNode, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize_plugins.config.code import FolderCode
    from crystallize_plugins.config.problems import Place, Problems
    from crystallize_plugins.config.schema import KeyPath

__all__ = ["Document", "Known", "Located", "Named", "parted"]

Known = tuple[list[str], bool]
"""The names of parameters, and whether any others are taken."""


@dataclass(frozen=True, slots=True)
class Named:
    """Something that config.yaml names, with or without parameters: ``name`` or ``name: {parameter: value}``.

    Attributes
    ----------
    name : str
    place : Place
        Of the name.
    keys : mapping of str to Place
        Where each parameter is named.
    params : mapping of str to object
    """

    name: str
    place: Place
    keys: dict[str, Place]
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Located:
    """Notes what is raised inside as a problem of a place, and goes on.

    Attributes
    ----------
    problems : Problems
    place : Place
    what : str
        Whose code runs, where errors of any kind are noted; empty where only our own are.
    advice : str
        What to do; empty where the error's own text says it.
    """

    problems: Problems
    place: Place
    what: str
    advice: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, CrystallizeError):
            self.problems.add(self.place, *parted(str(error), "" if self.what else self.advice), cause=error)
            return True
        if isinstance(error, Exception) and self.what:
            message = f"{self.what} raised {type(error).__name__}: {error}"
            self.problems.add(self.place, message, self.advice, cause=error)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Document:
    """What the sections of config.yaml are read from.

    Attributes
    ----------
    root : MapNode
    wrong : set of tuple
        The paths of what cannot be used, by the schema.
    problems : Problems
    code : FolderCode
    shown : str
        What to call the folder in messages.
    """

    root: MapNode
    wrong: set[KeyPath]
    problems: Problems
    code: FolderCode
    shown: str

    def usable(self, *path: str | int) -> bool:
        """Whether the schema found nothing wrong at a place, above it or below it."""
        return not any(path[: len(other)] == other or other[: len(path)] == path for other in self.wrong)

    def value(self, key: str) -> Any:
        """Return the value of a key at the top; None where it is absent, empty or wrong."""
        node = self.root.get(key)
        return node.value if isinstance(node, ScalarNode) and self.usable(key) else None

    def place(self, key: str) -> Place:
        """Return the place of the value of a key at the top."""
        node = self.root.get(key)
        return self.root.place if node is None else node.place

    def section(self, key: str) -> list[tuple[ScalarNode, Node]]:
        """Return names and values of a section, without those that the schema refuses."""
        node = self.root.get(key)
        if not isinstance(node, MapNode) or (key,) in self.wrong:
            return []
        return [(name, value) for name, value in node.pairs() if self.usable(key, name.text)]

    def named(self, node: Node) -> Named:
        """Take ``name`` or ``name: {parameter: value}`` apart."""
        if isinstance(node, ScalarNode):
            return Named(node.text, node.place, {}, {})
        assert isinstance(node, MapNode)  # noqa: S101 - what the schema lets through is one of the two
        ((key, inside),) = node.pairs()
        keys = {name.text: name.place for name, _ in inside.pairs()} if isinstance(inside, MapNode) else {}
        return Named(key.text, key.place, keys, value_of(inside, self.problems) or {})

    def located(self, place: Place, advice: str = "") -> Located:
        """Note an error of Crystallize's own, raised inside, as a problem of a place."""
        return Located(self.problems, place, "", advice)

    def guarded(self, place: Place, what: str, advice: str) -> Located:
        """Note whatever the experiment's own code raises inside as a problem of a place."""
        return Located(self.problems, place, what, advice)

    def function(self, module: str, named: Named, what: str, accepts: Callable[[Any], bool], advice: str) -> Any:
        """Return what a name means in one of the folder's modules, or None, which is noted.

        Parameters
        ----------
        module : str
            ``"steps"``, ``"datasources"``, …
        named : Named
        what : str
            What is looked for, for messages.
        accepts : callable
            Whether a value of the module is what is looked for; the others are not offered as spellings.
        advice : str
            What to do about one that is not.
        """
        loaded = self.code.module(module)
        if loaded is None:
            if not self.code.failed(module):
                self.problems.add(
                    named.place,
                    f"{what} {named.name!r} cannot be found: there is no {module}.py in {self.shown}",
                    f"Write {module}.py beside config.yaml, and define {named.name} in it",
                )
            return None
        value = vars(loaded).get(named.name)
        if value is None or named.name.startswith("_"):
            known = sorted(name for name, other in vars(loaded).items() if name[0] != "_" and accepts(other))
            listed = f"{module}.py has: {', '.join(known) or 'nothing'}"
            spelt = f"{did_you_mean(named.name, known)} {listed}".strip()
            self.problems.add(named.place, f"{module}.py has no {what} {named.name!r}", spelt)
            return None
        if accepts(value):
            return value
        kind = type(value).__name__
        self.problems.add(named.place, f"{named.name!r} of {module}.py is no {what} but of type {kind}", advice)
        return None

    def called(self, named: Named, what: str, make: Callable[[], Any], advice: str, known: Known) -> Any:
        """Return what the experiment's own code makes with the parameters that are given, or None, which is noted.

        Parameters
        ----------
        named : Named
        what : str
            What is made, for messages.
        make : callable
            Makes it.
        advice : str
            What to do where that raises.
        known : tuple of (list of str, bool)
            The names of its parameters, and whether it takes any others.
        """
        names, open_ended = known
        unknown = [name for name in named.params if name not in names and not open_ended]
        for name in unknown:
            spelt = f"{did_you_mean(name, names)} Its parameters: {', '.join(names) or 'none'}".strip()
            self.problems.add(named.keys[name], f"{what} {named.name!r} has no parameter {name!r}", spelt)
        if not unknown:
            with self.guarded(named.place, f"the {what} {named.name!r}", advice):
                return make()
        return None


def parted(text: str, advice: str) -> tuple[str, str]:
    """Part an error's text into what is wrong and what to do, at the end of its first sentence or clause."""
    if advice:
        return text, advice
    for mark in (". ", "; ", ": "):
        before, _, after = text.partition(mark)
        if after:
            return before, after[0].upper() + after[1:]
    return text, "Change it"

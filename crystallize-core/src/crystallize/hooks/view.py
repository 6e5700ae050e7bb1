"""What a hook gets to see of an experiment: this run's own values, never the user's object."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.errors import ArgumentTypeError, ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crystallize.engine.identity import CellIdentities
    from crystallize.results.provenance import ConditionRecord

__all__ = ["ExperimentView", "HandedRun", "OptimizationRequest", "RunInfo", "first_plugin"]

PluginT = TypeVar("PluginT")


def _nothing(names: Sequence[str]) -> list[ConditionRecord]:
    """Return no description: this is no view of a run in its coordinating process."""
    del names
    return []


@dataclass(frozen=True, slots=True)
class OptimizationRequest:
    """What an optimisation is asked for, beside what is recorded of the one that it would resume.

    Attributes
    ----------
    num_trials : int
        How often the optimiser will be asked.
    differs : str
        Why the recorded optimisation cannot be the one that is wanted, so that a store begins a new run; empty where it
        can, or nothing is recorded.
    told : int
        Of how many recorded trials the optimiser was told.
    settled : frozenset of str
        Their conditions, whose outcomes count as they are, failed ones too: what was asked afterwards rests on them.
    """

    num_trials: int
    differs: str = ""
    told: int = 0
    settled: frozenset[str] = frozenset()


_STORES_SET = frozenset({"version", "folder"})
_ASKED = "is what was asked for, and cannot be changed: declare it in the Experiment, or give it to run()"
_REFUSED = {
    "seed": "experiment.run.seed is settled before any hook, where plans know of it: derive the plugin's class from "
    "crystallize.hooks.SeederPlugin, and return the seed from base_seed",
    **{
        name: f"experiment.run.{name} is what the store says, and nobody else: derive the plugin's class from "
        "crystallize.hooks.StorePlugin if it stores runs"
        for name in sorted(_STORES_SET)
    },
}


@dataclass(slots=True)
class RunInfo:
    """Facts about one run; a store sets `version` and `folder`, and nobody anything else.

    Attributes
    ----------
    id : str
        A random identifier, unique to this run.
    kind : str
        ``"run"``, ``"apply"``, ``"debug"`` or ``"trial"``.
    strategy : str
        ``"rerun"`` or ``"resume"``.
    version : int or None
        The number of the run's folder, once a store has taken one.
    folder : str or None
        The run's folder, absolute, once a store has made one.
    seed : int or None
        The base seed, as the `SeederPlugin` gave it, or as it was recorded. The engine sets it before any hook.
    seed_override : int or None
        The seed that ``apply(seed=...)`` or ``debug`` asks for, in place of every computed one.
    started : float
        Seconds since the epoch.
    cache : tuple of bool or None
        Of each step in turn, whether this run uses the step cache for it.
    optimization : OptimizationRequest or None
        What is wanted of an optimisation, where the run is of kind ``"trial"``.
    """

    id: str
    kind: str = "run"
    strategy: str = "rerun"
    version: int | None = None
    folder: str | None = None
    seed: int | None = None
    seed_override: int | None = None
    started: float = 0.0
    cache: tuple[bool, ...] | None = None
    optimization: OptimizationRequest | None = None
    shown: HandedRun | None = field(default=None, repr=False, compare=False)

    def __setattr__(self, name: str, value: object) -> None:
        """Set what a store may set.

        Raises
        ------
        ReadOnlyError
            It is anything else.
        """
        if name not in _STORES_SET and hasattr(self, name):
            raise ReadOnlyError(_REFUSED.get(name, f"experiment.run.{name} {_ASKED}"))
        self._note(**{name: value})

    def _note(self, **facts: object) -> None:
        """Set what the engine finds out as the run goes on."""
        for name, value in facts.items():
            object.__setattr__(self, name, value)
        shown = getattr(self, "shown", None)
        if shown is not None and "shown" not in facts:
            shown._note(**facts)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        return None, _facts(self)

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._note(**state[1], shown=None)


class HandedRun(RunInfo):
    """The facts about a run for whoever is no store: none of them can be set, and what a store sets shows here too.

    Parameters
    ----------
    run : RunInfo
    """

    __slots__ = ()

    def __init__(self, run: RunInfo) -> None:
        self._note(**_facts(run), shown=None)
        run._note(shown=self)

    def __setattr__(self, name: str, value: object) -> None:
        raise ReadOnlyError(_REFUSED.get(name, f"experiment.run.{name} {_ASKED}"))

    def __reduce__(self) -> tuple[Any, ...]:
        return HandedRun, (RunInfo(**_facts(self)),)


class _KnownLock:
    """A plugin lock that travels."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._entries = entries

    def __call__(self) -> list[dict[str, Any]]:
        return copy.deepcopy(self._entries)


def _facts(run: RunInfo) -> dict[str, Any]:
    return {each.name: getattr(run, each.name) for each in fields(RunInfo) if each.name != "shown"}


@dataclass(slots=True, repr=False)
class ExperimentView:
    """An experiment as one run sees it.

    Nothing of it can be changed: setting an attribute is refused, and changes of what it holds have no effect. The view
    reaches worker processes as a pickled copy.
    """

    name: str | None
    description: str | None
    datasource: Any
    pipeline: Any
    plugins: Sequence[Any]
    treatments: Sequence[Any]
    hypotheses: Sequence[Any]
    replicates: int
    outputs: Mapping[str, Any]
    initial_ctx: Mapping[str, Any]
    strict: bool = False
    declared: Sequence[str] = ()
    """The names of the experiment's own treatments, also where this run was given others."""
    run: RunInfo = field(default_factory=lambda: RunInfo(id=""))
    identity: Callable[[], str] | str = ""
    """The experiment's identity, or what computes it: looking at code takes its time, and few runs ask."""
    identities: Callable[[], CellIdentities] | CellIdentities | None = None
    """The identities of this run's cells, or what computes them. See `cell_identities`."""
    definition: Callable[[], Mapping[str, Any]] = dict
    """Gives where the experiment was made, so that it can be found again; in workers it gives nothing."""
    lock: Callable[[], list[dict[str, Any]]] = list
    """Gives the plugin lock of this run; in worker processes of the same machine it gives nothing."""

    describe: Callable[[Sequence[str]], list[ConditionRecord]] = field(default=_nothing)
    """Gives what conditions are, by name: their parameters and context; in workers it gives nothing."""

    @property
    def id(self) -> str:
        """The identity of the experiment: the same as long as its code and parameters are."""
        if not isinstance(self.identity, str):
            self._note(identity=self.identity())
        return str(self.identity)

    def cell_identities(self) -> CellIdentities | None:
        """Give what makes the cells of this run what they are, for those who store them.

        To be asked for the first time in ``before_run``, after the plugin that seeds: cells may change what their code
        refers to.

        Returns
        -------
        CellIdentities or None
            With ``condition(name)`` and ``parts(name)``; on another machine, computed of the code that is there. None
            in the other worker processes, and where the view belongs to no run.
        """
        found = self.identities
        if found is not None and callable(found):
            found = found()
            self._note(identities=found)
        return found

    def _note(self, **facts: object) -> None:
        """Set what the engine finds out as the run goes on."""
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    def elsewhere(self, plugins: Sequence[object]) -> ExperimentView:
        """Return the view for another machine: with the plugins that are there, the plugin lock, and no run's folder.

        Parameters
        ----------
        plugins : sequence of object
            Those that travel.
        """
        run = RunInfo(**{**_facts(self.run), "folder": None})
        those = [plugin for plugin in self.plugins if any(plugin is each for each in plugins)]
        return replace(self, plugins=those, run=run, lock=_KnownLock(self.lock()))

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        _ = self.id if self.name is None else None
        state = {name: getattr(self, name) for name in self.__slots__}
        state["initial_ctx"] = dict(self.initial_ctx)  # a read-only view of a mapping does not travel
        if not isinstance(self.identity, str):
            state["identity"] = ""
        state["identities"] = None
        state["definition"], state["describe"] = dict, _nothing
        state["lock"] = self.lock if isinstance(self.lock, _KnownLock) else list
        return None, state

    @property
    def strategy(self) -> str:
        """This run's strategy, ``"rerun"`` or ``"resume"``."""
        return self.run.strategy

    def get_plugin(self, cls: type[PluginT]) -> PluginT | None:
        """Give the first active plugin that is an instance of `cls`, or None."""
        return first_plugin(self.plugins, cls)

    def __repr__(self) -> str:
        return f"ExperimentView({(self.name or self.id)!r}, {self.run.kind}, replicates={self.replicates})"


def first_plugin(plugins: Iterable[Any], cls: type[PluginT]) -> PluginT | None:
    """Give the first of `plugins` that is an instance of `cls`, or None."""
    if not isinstance(cls, type):
        raise ArgumentTypeError(f"get_plugin takes the class of a plugin, such as SeedPlugin, not {cls!r:.80}")
    return next((plugin for plugin in plugins if isinstance(plugin, cls)), None)

"""What makes a cell what it is: the one identity that decides whether a stored cell is still the same.

It is the chain of the data source, the steps in their order, the context that they can see, the plugins that are not
neutral and the seed. Executors, stores, loggers, the experiment's name, the number of replicates and how failures are
handled are no part of it.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from crystallize.datasources.stored import StoredContents
from crystallize.engine.plan import BASELINE
from crystallize.fingerprint import Identity, added_code, combine, identify
from crystallize.plugins.info import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crystallize.design import Treatment
    from crystallize.hooks import ActivePlugins, ExperimentView
    from crystallize.plugins.info import PluginInfo
    from crystallize.results.outcome import Cell

__all__ = ["CellIdentities", "cell_identities", "plugin_identity"]

_MOST_KEYS = 64
"""Contexts with more keys are one part, not one for each key."""


class CellIdentities:
    """The identities of a run's cells, by condition.

    What all conditions share is looked at when this is made, before any cell runs: cells may change what they refer
    to. A treatment is looked at when its condition is asked for.

    Parameters
    ----------
    view : ExperimentView
        With the run's base seed, where a plugin seeds.
    active : ActivePlugins

    Attributes
    ----------
    common : str
        The identity of what all conditions share.
    common_parts : mapping of str to str
        What it is made of, by name: digests.
    added : mapping of str to Identity
        What the project has added to libraries, by place; see `added_code`.
    modules : int
        How many modules were loaded when that was looked for.
    untracked : dict of str to None
        What cannot be compared, as ``"where: what"``, in the order of meeting; grows with the conditions that are
        asked for. See `untracked_of`.
    """

    def __init__(self, view: ExperimentView, active: ActivePlugins) -> None:
        self._view = view
        self._treatments: dict[str, Treatment] = {}
        self._met = 0
        self._own: dict[str, tuple[str, dict[str, str]]] = {}
        self._own_untracked: dict[str, tuple[str, ...]] = {}
        self.untracked: dict[str, None] = {}
        self._stored = StoredContents(view.datasource)
        self.modules = len(sys.modules)
        self.added = added_code()
        parts = {}
        for name, identity in _common_parts(view, active, self.added):
            parts[name] = identity.digest
            self.untracked.update(dict.fromkeys(identity.untracked))
        self._common_untracked = tuple(self.untracked)
        self.common_parts: Mapping[str, str] = parts
        # Without the names: a file that was moved is the same data.
        self.common = combine(*parts.values())

    def condition(self, name: str) -> str:
        """Return the identity that the cells of a condition share: 64 hexadecimal digits.

        Parameters
        ----------
        name : str
            The baseline's, or that of a treatment of the run.
        """
        return self._of(name)[0]

    def own_parts(self, name: str) -> Mapping[str, str]:
        """Return what a condition has of its own, by name; nothing for a baseline that no treatment adjusts."""
        return self._of(name)[1]

    def parts(self, name: str) -> Mapping[str, str]:
        """Return everything that the identity of a condition is made of.

        Parameters
        ----------
        name : str

        Returns
        -------
        mapping of str to str
            Digests, by names such as ``"datasource"``, ``"step 2 AddDeltaStep code"``, ``"step 2 AddDeltaStep
            params"``, ``"initial context 'k'"``, ``"treatment"``, ``"plugin seed"``, ``"seed"``: what differs between
            two of them is what changed.
        """
        return {**self.common_parts, **self._of(name)[1]}

    def without_seed(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return `parts` of several conditions: code, data and parameters, whatever the seed is."""
        return {name: {part: of for part, of in self.parts(name).items() if part != "seed"} for name in names}

    def untracked_of(self, name: str | None = None) -> tuple[str, ...]:
        """Return what of a condition's identity cannot be compared, as ``"where: what"``.

        Two cells of one identity may differ in such a thing.

        Parameters
        ----------
        name : str, optional
            A condition; by default what all conditions share.
        """
        if name is None:
            return self._common_untracked
        self._of(name)
        return tuple(dict.fromkeys((*self._common_untracked, *self._own_untracked.get(name, ()))))

    @property
    def reads_files(self) -> bool:
        """Whether the cells are given what another experiment stored, so that `stored_files` has something to say."""
        return bool(self._stored)

    def stored_files(self, cell: Cell, *, look: bool = False) -> str:
        """Return the identity of the stored files that a cell reads.

        Parameters
        ----------
        cell : Cell
        look : bool, default False
            Whether to read them, and not to trust what was recorded when they were written.
        """
        return self._stored.digest(cell.condition, cell.replicate, look=look)

    def _of(self, name: str) -> tuple[str, dict[str, str]]:
        known = self._own.get(name)
        if known is None:
            treatment = self._treatment(name)
            parts: dict[str, str] = {}
            if treatment is not None:
                identity = identify(treatment.applied)
                self.untracked.update(dict.fromkeys(identity.untracked))
                self._own_untracked[name] = identity.untracked
                parts["treatment"] = identity.digest
            known = self._own[name] = combine(self.common, *parts.values()), parts
        return known

    def _treatment(self, name: str) -> Treatment | None:
        treatments = self._view.treatments
        if self._met < len(treatments):  # an optimisation adds them
            self._treatments.update((each.name, each) for each in islice(treatments, self._met, None))
            self._met = len(treatments)
        found = self._treatments.get(name)
        if found is None and name != BASELINE:
            raise KeyError(name)
        # One that sets nothing adjusts nothing.
        return None if found is not None and name == BASELINE and found.applied == {} else found


def cell_identities(view: ExperimentView, active: ActivePlugins) -> CellIdentities:
    """Find out what makes the cells of a run what they are.

    Parameters
    ----------
    view : ExperimentView
        With the run's base seed, where a plugin seeds.
    active : ActivePlugins

    Returns
    -------
    CellIdentities
    """
    return CellIdentities(view, active)


def _common_parts(
    view: ExperimentView, active: ActivePlugins, added: Mapping[str, Identity]
) -> Iterator[tuple[str, Identity]]:
    yield from view.datasource._identity_parts("datasource")
    for position, (step, label) in enumerate(zip(view.pipeline.steps, view.pipeline.labels, strict=True), 1):
        code, params = step._identity_parts()
        # With its name: what it writes lies in a folder of that name.
        yield f"step {position} {label} code", code._replace(digest=combine(label, code.digest))
        yield f"step {position} {label} params", params
    for place, found in added.items():
        yield f"code added to {place}", found
    yield from _context_parts(view.initial_ctx)
    for name, artifact in view.outputs.items():
        yield f"output {name!r}", identify((name, artifact.name, artifact.writer))
    yield from _plugin_parts(active)
    yield "seed", identify(view.run.seed)


def _context_parts(context: Mapping[str, Any]) -> Iterator[tuple[str, Identity]]:
    if len(context) > _MOST_KEYS:
        yield "initial context", identify(dict(context))
        return
    for key in sorted(context):
        identity = identify(context[key])
        yield f"initial context {key!r}", identity._replace(digest=combine(key, identity.digest))


def _plugin_parts(active: ActivePlugins) -> Iterator[tuple[str, Identity]]:
    """Yield those that are not neutral, in the order in which they are called: code, and settings, never live state."""
    met: dict[str, int] = {}
    for info in active.infos:
        if info.neutral is not True:
            count = met[info.name] = met.get(info.name, 0) + 1
            yield f"plugin {info.name}" + (f" ({count})" if count > 1 else ""), plugin_identity(info)


def plugin_identity(info: PluginInfo) -> Identity:
    """Return the identity of a plugin: its code, its settings, and the hooks that it sits out; never live state."""
    kind = type(info.plugin)
    says = getattr(kind, "__fingerprint__", None)
    code = identify(kind)
    settings = identify(dict(info.arguments) if says is None else says(info.plugin))
    # Hooks that it sits out: settings of another kind.
    silent = sorted(declared(info.plugin, "silent_hooks"))
    digest = combine(code.digest, settings.digest, *silent)
    return Identity(digest, (*code.untracked, *settings.untracked))

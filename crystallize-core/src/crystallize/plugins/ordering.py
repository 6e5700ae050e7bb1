"""The one total order of plugins: a base order, adjusted by the relations that plugins declare."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crystallize.errors import PluginOrderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.plugins.info import Origin

__all__ = ["RankedPlugin", "in_order", "reasons_for"]

Key = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class RankedPlugin:
    """What ordering needs to know about one plugin.

    Attributes
    ----------
    origin : Origin
    rank : int
        Seeding comes before all others, then the list, then logging and the store.
    position : int
        Where it stands in the list.
    names : frozenset of str
        The names that relations may call it by.
    classes : tuple of type
        Its class and what that derives from.
    before, after, requires : tuple of (str or class)
        The relations it declares.
    """

    origin: Origin
    rank: int
    position: int
    names: frozenset[str]
    classes: tuple[type, ...] = ()
    before: tuple[str | type, ...] = field(default=())
    after: tuple[str | type, ...] = field(default=())
    requires: tuple[str | type, ...] = field(default=())

    @property
    def key(self) -> Key:
        """Its place in the base order."""
        return self.rank, self.position, self.origin.name

    def is_named_by(self, wanted: str | type) -> bool:
        """Whether a relation that names `wanted` means this plugin."""
        return wanted in self.names if isinstance(wanted, str) else wanted in self.classes


def in_order(places: Iterable[RankedPlugin], *, complete: bool = True) -> list[RankedPlugin]:
    """Put plugins into their order.

    Every relation to an active plugin holds. Beyond that the base order is kept: a plugin that comes ``before``
    another moves up just so far, and one that comes ``after`` another waits just so long.

    Parameters
    ----------
    places : iterable of RankedPlugin
        In any order; the result does not depend on it.
    complete : bool, default True
        Whether all plugins are there, so that a required one that is not is an error.

    Raises
    ------
    PluginOrderError
        The relations form a cycle, or a required plugin is not active.
    """
    base = sorted(places, key=lambda place: place.key)
    followers, reasons = _relations(base, complete=complete)
    waiting = [0] * len(base)
    for targets in followers:
        for target in targets:
            waiting[target] += 1
    keys = _advanced(base, followers, reasons)
    ready = [(keys[i], i) for i in range(len(base)) if not waiting[i]]
    heapq.heapify(ready)
    done: list[RankedPlugin] = []
    while ready:
        _, i = heapq.heappop(ready)
        done.append(base[i])
        for target in followers[i]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, (keys[target], target))
    if len(done) < len(base):
        raise _cycle(base, followers, reasons, {i for i in range(len(base)) if waiting[i]})
    return done


_BASE = (
    "what seeds comes first",
    "its place in the list of plugins",
    "logging comes after the list",
    "what stores comes last",
)
"""By rank, why a plugin is where it is before any relation is looked at."""


def reasons_for(ordered: Sequence[RankedPlugin]) -> list[str]:
    """Return for each plugin of an order why it is where it is: its base place, and the relations that it is in."""
    _, declared = _relations(ordered, complete=False)
    said = [[_BASE[place.rank]] for place in ordered]
    for (first, second), relation in declared.items():
        one, other = ordered[first].origin.name, ordered[second].origin.name
        if relation == "before":
            said[first].append(f"it comes before {other!r}, as it declares")
            said[second].append(f"{one!r} declares to come before it")
        else:
            said[second].append(f"it {'requires' if relation == 'requires' else 'comes after'} {one!r}, as it declares")
            said[first].append(f"{other!r} declares to come after it")
    return ["; ".join(each) for each in said]


def _relations(base: Sequence[RankedPlugin], *, complete: bool) -> tuple[list[list[int]], dict[tuple[int, int], str]]:
    """Give, for each plugin, those that come after it, and by which declaration."""
    followers: list[list[int]] = [[] for _ in base]
    reasons: dict[tuple[int, int], str] = {}
    for relation in ("before", "requires", "after"):  # Of two that say the same, `before` also moves its plugin up.
        for i, place in enumerate(base):
            for wanted in getattr(place, relation):
                others = [j for j, other in enumerate(base) if j != i and other.is_named_by(wanted)]
                if relation == "requires" and complete and not others:
                    raise _not_active(place, wanted)
                for j in others:
                    edge = (i, j) if relation == "before" else (j, i)
                    if edge not in reasons:
                        followers[edge[0]].append(edge[1])
                        reasons[edge] = relation
    return followers, reasons


def _advanced(
    base: Sequence[RankedPlugin], followers: Sequence[Sequence[int]], reasons: dict[tuple[int, int], str]
) -> list[tuple[Key, ...]]:
    """Give each plugin the key of the foremost one that it has to come before, then its own.

    What moves up takes along what it waits for itself; otherwise that would hold up the one it moves before.
    """
    foremost: list[Key] = [place.key for place in base]
    for _ in base:  # As many rounds as a chain of relations can be long.
        for i, targets in enumerate(followers):
            for target in targets:
                if reasons[i, target] == "before" or foremost[target] < base[target].key:
                    foremost[i] = min(foremost[i], foremost[target])
    return [(key, place.key) for key, place in zip(foremost, base, strict=True)]


def _not_active(place: RankedPlugin, wanted: str | type) -> PluginOrderError:
    name = wanted if isinstance(wanted, str) else wanted.__name__
    return PluginOrderError(
        f"{place.origin} requires the plugin {name!r}, which is not active: add it to the experiment's plugins, "
        f"or leave {place.origin.name!r} out",
        **place.origin.fields,
    )


def _cycle(
    base: Sequence[RankedPlugin],
    followers: Sequence[Sequence[int]],
    reasons: dict[tuple[int, int], str],
    stuck: set[int],
) -> PluginOrderError:
    before = {target: i for i in sorted(stuck, reverse=True) for target in followers[i] if target in stuck}
    path = [min(stuck)]
    while before[path[-1]] not in path:
        path.append(before[path[-1]])
    path = path[path.index(before[path[-1]]) :][::-1]
    start = path.index(min(path))
    path = path[start:] + path[:start]
    steps = []
    for first, second in zip(path, [*path[1:], path[0]], strict=True):
        relation = reasons[first, second]
        one, other = base[first].origin.name, base[second].origin.name
        steps.append(f"{one!r} is before {other!r}" if relation == "before" else f"{other!r} {relation} {one!r}")
    names = " -> ".join(repr(base[i].origin.name) for i in [*path, path[0]])
    return PluginOrderError(
        f"the plugins' relations form a cycle, {names}: {'; '.join(steps)}. Take one of these relations away",
        **base[path[0]].origin.fields,
    )

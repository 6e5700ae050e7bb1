"""How the step cache is brought into a run: which plugins count in its keys, and what each process needs to know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.engine.identity import CellIdentities, plugin_identity
from crystallize.engine.keys import may_influence
from crystallize.errors import ConfigurationError
from crystallize.fingerprint import Identity, added_code, combine, identify, may_have_added
from crystallize.hooks.roles import SeederPlugin
from crystallize.pipelines.cache.call import watched_fetch
from crystallize.pipelines.cache.randomness import global_randomness
from crystallize.pipelines.cache.session import CacheSession, together
from crystallize.pipelines.cache.settings import CacheSettings, current_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.engine.cell import Job
    from crystallize.plugins.manager import HookCall

__all__ = ["CacheBrief", "announced", "brief_for", "fetch_for", "session_for"]

_BEFORE_A_STEP = frozenset({"before_run", "worker_start", "before_replicate", "before_step", "after_step"})


class CacheBrief(NamedTuple):
    """What every process of a run needs to know of the step cache; made in the coordinating one.

    Attributes
    ----------
    settings : CacheSettings or None
        None where the environment makes no sense (whoever opens the cache says so), and on other machines, which have
        their own.
    plugins : str
        The digest of the plugins that may influence a step in a way that its context does not show; empty where there
        is none.
    chained : bool
        Whether no plugin may change the data between two steps.
    added : Identity or None
        Of what the project has added to libraries; None where that is nothing.
    """

    settings: CacheSettings | None
    plugins: str
    chained: bool
    added: Identity | None


def brief_for(job: Job) -> CacheBrief:
    """Find out what the processes of a run need to know."""
    try:
        settings = current_settings()
    except ConfigurationError:
        settings = None
    influential = [
        info for info in job.active.infos if may_influence(info) and not _BEFORE_A_STEP.isdisjoint(info.hooks)
    ]
    run = job.view.run
    plugins = ""
    if influential:
        # What they do may go by the run's seed; what they read from a cell's context comes on top.
        seeds = identify((run.seed, run.seed_override)).digest
        plugins = combine(seeds, *(plugin_identity(info).digest for info in influential))
    chained = all(call.neutral for call in job.active.calls("after_step"))
    # Who stores the run has asked for it before: to search libraries takes tens of milliseconds.
    known = job.view.identities
    added = known.added if isinstance(known, CellIdentities) and not may_have_added(known.modules) else added_code()
    return CacheBrief(settings, plugins, chained, together(added))


def session_for(job: Job) -> CacheSession:
    """Return the step cache of a worker."""
    brief = job.cache or brief_for(job)
    return CacheSession(brief.settings, plugins=brief.plugins, chained=brief.chained, added=brief.added)


def fetch_for(job: Job, session: CacheSession, fetch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `fetch` that notes what its data is, where the source can say so and the first step asks for it."""
    source = job.view.datasource
    if job.cached[0] and source.is_declared:
        return watched_fetch(session, source, fetch)
    return fetch


def announced(calls: Iterable[HookCall]) -> tuple[HookCall, ...]:
    """Return hooks such that those which seed the global random state say so while they do it."""
    return tuple(
        replace(call, fn=_announcing(call.fn), method=_announcing(call.method))
        if _seeds_globally(call.info.plugin)
        else call
        for call in calls
    )


def _seeds_globally(plugin: object) -> bool:
    return isinstance(plugin, SeederPlugin) and plugin.seeds_global_state


def _announcing(fn: Callable[..., Any]) -> Callable[..., Any]:
    def seeding(*arguments: Any) -> Any:
        with global_randomness.seeding():
            return fn(*arguments)

    return seeding

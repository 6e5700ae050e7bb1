"""How the step cache is brought into a run: which plugins count in its keys, and what each process needs to know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.engine.identity import _plugin
from crystallize.errors import ConfigurationError
from crystallize.fingerprint import Identity, added_code, combine, identify
from crystallize.pipelines.cache.call import watched_fetch
from crystallize.pipelines.cache.randomness import global_randomness
from crystallize.pipelines.cache.session import CacheSession, together
from crystallize.pipelines.cache.settings import CacheSettings, current_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.engine.job import Job
    from crystallize.hooks.info import PluginInfo
    from crystallize.hooks.manager import HookCall

__all__ = ["CacheBrief", "announced", "brief_for", "fetch_for", "session_for"]

_BEFORE_A_STEP = ("before_run", "worker_start", "before_replicate", "before_step", "after_step")


class CacheBrief(NamedTuple):
    """What every process of a run needs to know of the step cache; made in the coordinating one.

    Attributes
    ----------
    settings : CacheSettings or None
        None where the environment makes no sense: whoever opens the cache says so.
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
    influential = [info for info in job.active.infos if _may_influence(info)]
    run = job.view.run
    plugins = ""
    if influential:
        # What they do may go by the run's seed; what they read from a cell's context comes on top.
        seeds = identify((run.seed, run.seed_override)).digest
        plugins = combine(seeds, *(_plugin(info).digest for info in influential))
    chained = all(call.neutral for call in job.active.calls("after_step"))
    return CacheBrief(settings, plugins, chained, together(added_code()))


def session_for(job: Job) -> CacheSession:
    """Give the step cache of a worker."""
    brief = job.cache or brief_for(job)
    return CacheSession(brief.settings, plugins=brief.plugins, chained=brief.chained, added=brief.added)


def fetch_for(job: Job, session: CacheSession, fetch: Callable[..., Any]) -> Callable[..., Any]:
    """Give a `fetch` that notes what its data is, where the source can say so and the first step asks for it."""
    source = job.view.datasource
    if job.view.pipeline.steps[0].cacheable and source.is_declared:
        return watched_fetch(session, source, fetch)
    return fetch


def announced(calls: Iterable[HookCall]) -> tuple[HookCall, ...]:
    """Give hooks such that those which seed the global random state say so while they do it."""
    return tuple(
        replace(call, fn=_announcing(call.fn)) if getattr(call.info.plugin, "seeds_global_state", False) else call
        for call in calls
    )


def _announcing(fn: Callable[..., Any]) -> Callable[..., Any]:
    def seeding(*arguments: Any) -> Any:
        with global_randomness.seeding():
            return fn(*arguments)

    return seeding


def _may_influence(info: PluginInfo) -> bool:
    """Whether a plugin may do something before or between steps that the cache does not see by itself."""
    if info.neutral is True or getattr(info.plugin, "seen_by_cache", False):
        return False
    return any(hook in info.hooks for hook in _BEFORE_A_STEP)

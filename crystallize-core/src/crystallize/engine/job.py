"""What is to be run, as it travels to whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystallize.design import Treatment
    from crystallize.engine.caching import CacheBrief
    from crystallize.engine.policy import Policies
    from crystallize.engine.program import Program
    from crystallize.hooks import ActivePlugins, ExperimentView

__all__ = ["Job"]


@dataclass(slots=True)
class Job:
    """The part of a run that every worker needs.

    Attributes
    ----------
    view : ExperimentView
        What hooks are shown.
    active : ActivePlugins
    treatments : dict of str to Treatment
        By condition; the baseline has one only where a treatment of that name adjusts it.
    gives_data : bool
        Whether `data` stands for what the data source would fetch.
    data : object
    keeps_payload : bool
        Whether an outcome keeps the final data.
    policies : Policies or None
        When to try a cell again, and how long it may take; None where nothing was declared.
    keeps_logs : bool
        Whether what cells print is kept, for those that fail.
    cache : CacheBrief or None
        How the coordinating process sees the step cache; None there, and where no step is cacheable.
    """

    view: ExperimentView
    active: ActivePlugins
    treatments: dict[str, Treatment]
    gives_data: bool = False
    data: Any = None
    keeps_payload: bool = False
    policies: Policies | None = None
    cache: CacheBrief | None = None
    keeps_logs: bool = False
    programs: dict[str, tuple[Treatment | None, Program]] = field(default_factory=dict)
    """Conditions that were compiled before in this process, each with the treatment that it is for."""

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        state = {name: getattr(self, name) for name in self.__slots__}
        if self.cache is None and any(step.cacheable for step in self.view.pipeline.steps):
            from crystallize.engine.caching import brief_for

            state["cache"] = brief_for(self)
        # Bound calls are closures: another process binds its own.
        return None, {**state, "programs": {}}

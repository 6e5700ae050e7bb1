"""Hooks: the contract with plugin authors.

A plugin imports from here, from `crystallize`, `crystallize.errors` and `crystallize.testing` alone. Small helpers are
in `crystallize.hooks.tools`, what experiments are made of in `crystallize.hooks.declarations`. Names are looked up at
their first use, wherever they are defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade

if TYPE_CHECKING:
    from crystallize.datasources.stored import StoredRun
    from crystallize.design.verdicts import Verdict
    from crystallize.discovery.loading import (
        PluginReport,
        examine_plugins,
        find_plugin,
        find_plugins,
        load_plugin,
        load_public,
        public_plugin_names,
    )
    from crystallize.discovery.metadata import PluginRecord
    from crystallize.engine.bridge import STOPS
    from crystallize.engine.cell_log import CellLog
    from crystallize.engine.identity import CellIdentities
    from crystallize.engine.interrupts import InterruptGuard, ctrl_c_interrupts, handle_interrupts
    from crystallize.engine.plan import condition_names, plan_cells
    from crystallize.engine.policies import History, attempt_of
    from crystallize.engine.runner import RunStopped, SerialLoop
    from crystallize.hooks.base import BasePlugin, TypedPlugin, hookimpl, not_a_hook
    from crystallize.hooks.contract import contract_description
    from crystallize.hooks.declared_settings import Setting, settings_of
    from crystallize.hooks.deprecations import DEPRECATIONS, Deprecation
    from crystallize.hooks.roles import (
        DeadlineListener,
        ExecutorPlugin,
        FailurePolicies,
        RunCell,
        SeederPlugin,
        StorePlugin,
        WorkerReport,
    )
    from crystallize.hooks.specs import CONTRACT, HOOKS, HookSpec, HookSpecs
    from crystallize.hooks.view import ExperimentView, OptimizationRequest, RunInfo
    from crystallize.optimization.replay import AskedTrial, JournalEntry
    from crystallize.optimization.result import OptimizationResult
    from crystallize.optimization.trial import Report, TrialResult, trial_result, was_pruned
    from crystallize.plugins.build import build_plugin, build_plugins
    from crystallize.plugins.info import Origin, PluginInfo
    from crystallize.plugins.lock import compare_lock, lock_requirements, plugins_from_lock
    from crystallize.plugins.manager import ActivePlugins, HookCall
    from crystallize.results.columns import CellColumns, LazyOutcomes, MetricColumn, MetricColumns, MetricValues
    from crystallize.results.metrics import BASELINE, NO_METRIC, HypothesisResult
    from crystallize.results.outcome import ArtifactRecord, Attempt, Cell, CellOutcome, Event, PluginFailure
    from crystallize.results.provenance import ConditionLog, ConditionRecord, StepRecord
    from crystallize.results.result import build_result
    from crystallize.results.trace import CellTrace, StepShape, TraceShape, intern_shape

__all__ = [
    "BASELINE",
    "CONTRACT",
    "DEPRECATIONS",
    "HOOKS",
    "NO_METRIC",
    "STOPS",
    "ActivePlugins",
    "ArtifactRecord",
    "AskedTrial",
    "Attempt",
    "BasePlugin",
    "Cell",
    "CellColumns",
    "CellIdentities",
    "CellLog",
    "CellOutcome",
    "CellTrace",
    "ConditionLog",
    "ConditionRecord",
    "DeadlineListener",
    "Deprecation",
    "Event",
    "ExecutorPlugin",
    "ExperimentView",
    "FailurePolicies",
    "History",
    "HookCall",
    "HookSpec",
    "HookSpecs",
    "HypothesisResult",
    "InterruptGuard",
    "JournalEntry",
    "LazyOutcomes",
    "MetricColumn",
    "MetricColumns",
    "MetricValues",
    "OptimizationRequest",
    "OptimizationResult",
    "Origin",
    "PluginFailure",
    "PluginInfo",
    "PluginRecord",
    "PluginReport",
    "Report",
    "RunCell",
    "RunInfo",
    "RunStopped",
    "SeederPlugin",
    "SerialLoop",
    "Setting",
    "StepRecord",
    "StepShape",
    "StorePlugin",
    "StoredRun",
    "TraceShape",
    "TrialResult",
    "TypedPlugin",
    "Verdict",
    "WorkerReport",
    "attempt_of",
    "build_plugin",
    "build_plugins",
    "build_result",
    "compare_lock",
    "condition_names",
    "contract_description",
    "ctrl_c_interrupts",
    "examine_plugins",
    "find_plugin",
    "find_plugins",
    "handle_interrupts",
    "hookimpl",
    "intern_shape",
    "load_plugin",
    "load_public",
    "lock_requirements",
    "not_a_hook",
    "plan_cells",
    "plugins_from_lock",
    "public_plugin_names",
    "settings_of",
    "trial_result",
    "was_pruned",
]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    __getattr__, __dir__ = facade(
        globals(),
        {
            "datasources.stored": "StoredRun",
            "design.verdicts": "Verdict",
            "engine.bridge": "STOPS",
            "engine.identity": "CellIdentities",
            "engine.interrupts": "InterruptGuard ctrl_c_interrupts handle_interrupts",
            "engine.plan": "condition_names plan_cells",
            "engine.policies": "History attempt_of",
            "engine.cell_log": "CellLog",
            "engine.runner": "RunStopped SerialLoop",
            "hooks.base": "BasePlugin TypedPlugin hookimpl not_a_hook",
            "hooks.contract": "contract_description",
            "hooks.declared_settings": "Setting settings_of",
            "hooks.deprecations": "DEPRECATIONS Deprecation",
            "hooks.roles": "DeadlineListener ExecutorPlugin FailurePolicies RunCell SeederPlugin StorePlugin "
            "WorkerReport",
            "hooks.specs": "CONTRACT HOOKS HookSpec HookSpecs",
            "hooks.view": "ExperimentView OptimizationRequest RunInfo",
            "optimization.replay": "AskedTrial JournalEntry",
            "optimization.result": "OptimizationResult",
            "optimization.trial": "Report TrialResult trial_result was_pruned",
            "plugins.build": "build_plugin build_plugins",
            "discovery.loading": "PluginReport examine_plugins find_plugin find_plugins load_plugin load_public "
            "public_plugin_names",
            "plugins.info": "Origin PluginInfo",
            "plugins.lock": "compare_lock lock_requirements plugins_from_lock",
            "plugins.manager": "ActivePlugins HookCall",
            "discovery.metadata": "PluginRecord",
            "results.columns": "CellColumns LazyOutcomes MetricColumn MetricColumns MetricValues",
            "results.metrics": "BASELINE HypothesisResult NO_METRIC",
            "results.outcome": "ArtifactRecord Attempt Cell CellOutcome Event PluginFailure",
            "results.provenance": "ConditionLog ConditionRecord StepRecord",
            "results.result": "build_result",
            "results.trace": "CellTrace StepShape TraceShape intern_shape",
        },
    )

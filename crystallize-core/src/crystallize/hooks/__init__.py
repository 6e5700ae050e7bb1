"""Hooks: the contract with plugin authors, and the active plugins of an experiment."""

from __future__ import annotations

from crystallize.hooks.base import BasePlugin, hookimpl, not_a_hook
from crystallize.hooks.build import build_plugin, build_plugins
from crystallize.hooks.discovery import (
    PluginReport,
    examine_plugins,
    find_plugin,
    find_plugins,
    load_plugin,
    load_public,
    public_plugin_names,
)
from crystallize.hooks.facts import HookSpec
from crystallize.hooks.info import Origin, PluginInfo
from crystallize.hooks.lock import compare_lock, lock_requirements, plugins_from_lock
from crystallize.hooks.manager import ActivePlugins, HookCall
from crystallize.hooks.metadata import PluginRecord
from crystallize.hooks.specs import CONTRACT, HOOKS, HookSpecs, RunCell
from crystallize.hooks.view import ExperimentView, RunInfo

__all__ = [
    "CONTRACT",
    "HOOKS",
    "ActivePlugins",
    "BasePlugin",
    "ExperimentView",
    "HookCall",
    "HookSpec",
    "HookSpecs",
    "Origin",
    "PluginInfo",
    "PluginRecord",
    "PluginReport",
    "RunCell",
    "RunInfo",
    "build_plugin",
    "build_plugins",
    "compare_lock",
    "examine_plugins",
    "find_plugin",
    "find_plugins",
    "hookimpl",
    "load_plugin",
    "load_public",
    "lock_requirements",
    "not_a_hook",
    "plugins_from_lock",
    "public_plugin_names",
]

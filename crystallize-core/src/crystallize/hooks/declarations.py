"""Declarations of experiments, for those who read, write and repeat them: formats of configurations, command lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize._lazy import facade

if TYPE_CHECKING:
    from crystallize.datasources.artifact import as_bytes, read_bytes
    from crystallize.datasources.base import FACTORY_MARK, Declaration, as_data_source
    from crystallize.datasources.inputs import producers
    from crystallize.design.verifiers import BoundVerifier, VerifierFactory
    from crystallize.experiments.definition import catching_runs, definition_of, run_part
    from crystallize.experiments.request import (
        Request,
        active_plugins,
        checked_outputs,
        resolve_appended,
        use_plugins,
    )
    from crystallize.experiments.treatment_keys import among, check_keys
    from crystallize.fingerprint.sources import CodePart, code_parts
    from crystallize.folders import MARK, FolderModules, has_library_name, home_of, offer, withdraw
    from crystallize.pipelines.step import as_step, step_class_of
    from crystallize.plugins.build import build_own_plugin, rebuild_plugin
    from crystallize.plugins.info import note_asked_by
    from crystallize.plugins.lock import (
        lock_differences,
        lock_digest,
        lock_document,
        lock_doubts,
        plugins_as_locked,
        read_lock,
    )
    from crystallize.plugins.manager import explain_order
    from crystallize.signatures import signature_of

__all__ = [
    "FACTORY_MARK",
    "MARK",
    "BoundVerifier",
    "CodePart",
    "Declaration",
    "FolderModules",
    "Request",
    "VerifierFactory",
    "active_plugins",
    "among",
    "as_bytes",
    "as_data_source",
    "as_step",
    "build_own_plugin",
    "catching_runs",
    "check_keys",
    "checked_outputs",
    "code_parts",
    "definition_of",
    "explain_order",
    "has_library_name",
    "home_of",
    "lock_differences",
    "lock_digest",
    "lock_document",
    "lock_doubts",
    "note_asked_by",
    "offer",
    "plugins_as_locked",
    "producers",
    "read_bytes",
    "read_lock",
    "rebuild_plugin",
    "resolve_appended",
    "run_part",
    "signature_of",
    "step_class_of",
    "use_plugins",
    "withdraw",
]

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists
    __getattr__, __dir__ = facade(
        globals(),
        {
            "datasources.artifact": "as_bytes read_bytes",
            "datasources.base": "Declaration FACTORY_MARK as_data_source",
            "datasources.inputs": "producers",
            "design.verifiers": "BoundVerifier VerifierFactory",
            "experiments.definition": "catching_runs definition_of run_part",
            "experiments.request": "Request active_plugins checked_outputs resolve_appended use_plugins",
            "experiments.treatment_keys": "among check_keys",
            "fingerprint.sources": "CodePart code_parts",
            "folders": "FolderModules MARK has_library_name home_of offer withdraw",
            "pipelines.step": "as_step step_class_of",
            "plugins.build": "build_own_plugin rebuild_plugin",
            "plugins.info": "note_asked_by",
            "plugins.lock": "lock_differences lock_digest lock_document lock_doubts plugins_as_locked read_lock",
            "plugins.manager": "explain_order",
            "signatures": "signature_of",
        },
    )

"""Plugins are examined in a process of their own: each mistake has its rule, and a sound plugin has none."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest
from tests.unit.testing.bad_plugins import DECLARED, GOOD, IMPORTS, BadPlugin, importing

from crystallize.discovery.metadata import rescan
from crystallize.hooks import find_plugins
from crystallize.testing import RULES, Finding, examine_plugin
from crystallize.testing.examination import examine_here
from crystallize.testing.static import distribution_findings, name_findings


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a plugin into a folder on the path; give the record that is found of it."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(bad):
        record = bad.install(tmp_path)
        rescan()
        return next(found for found in find_plugins(bad.group) if found.distribution == record.distribution)

    yield install
    monkeypatch.undo()
    rescan()


@pytest.mark.parametrize("bad", IMPORTS, ids=lambda bad: bad.name)
def test_what_importing_a_plugin_does_is_found_with_its_rule_and_line(bad, installed):
    found = examine_plugin(installed(bad))
    assert {(finding.rule, finding.state) for finding in found.findings} == {(bad.rule, bad.state)}
    assert found.ok == (bad.state == "note")
    if bad.rule not in {"import-slow", "import-fails"}:
        line = 1 + bad.source.startswith("import")
        assert found.findings[0].where == f"{sys.path[0]}/{found.record.module}/__init__.py:{line}"


@pytest.mark.parametrize("bad", DECLARED, ids=lambda bad: bad.name)
def test_what_a_plugin_declares_wrongly_is_found_with_its_rule(bad, installed):
    # In this process, which is what the other one does, too.
    record = installed(bad)
    found = [
        *name_findings(record),
        *distribution_findings(record, metadata.requires(record.distribution) or []),
        *(Finding(**finding) for finding in examine_here(record)["findings"]),
    ]
    assert {(finding.rule, finding.state) for finding in found} == {(bad.rule, bad.state)}
    if bad.rule.startswith("hook-"):
        assert found[0].where.rpartition(":")[0].endswith("__init__.py")


@pytest.mark.parametrize("name", ["misspelt", "untyped", "writes-when-built", "is-no-command"])
def test_the_process_says_what_is_found_in_this_one(name, installed):
    bad = next(bad for bad in DECLARED if bad.name == name)
    found = examine_plugin(installed(bad))
    assert [(finding.rule, finding.state) for finding in found.findings] == [(bad.rule, bad.state)]


def test_a_sound_plugin_has_no_findings_and_a_time_of_import(installed):
    found = examine_plugin(installed(BadPlugin("sound", "")))
    assert (found.findings, found.ok) == ((), True)
    assert found.import_ms >= 0


def test_what_other_packages_do_when_they_are_imported_is_not_the_plugins_doing(installed):
    # NumPy adds filters of warnings, and makes the state of its generator.
    assert examine_plugin(installed(BadPlugin("uses-numpy", "", importing("import numpy.random")))).findings == ()


def test_examining_a_plugin_imports_nothing_here(installed):
    record = installed(BadPlugin("stays-away", "", GOOD))
    examine_plugin(record)
    assert record.module not in sys.modules


def test_the_rules_are_sentences_under_names_that_do_not_change():
    names = """
        import-fails import-slow import-random import-environ import-cwd import-logging import-warnings import-path
        import-thread import-output entry-point name-taken name-reserved hook-unknown hook-argument hook-kind
        hook-annotation declaration contract deprecated settings pickle random data outcome result view step state
        order executor errors facts leak-thread leak-file leak-process leak-cwd leak-environ core-bound py-typed
    """
    assert list(RULES) == names.split()
    assert all(text.endswith(".") and " " in text for text in RULES.values())

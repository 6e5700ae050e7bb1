"""`crystallize schema --plugins`: the settings of installed plugins, for editors."""

from __future__ import annotations

import jsonschema_rs
import pytest


@pytest.fixture
def accepts(call, tally, install):
    """Say whether the schema takes these plugins."""
    tally()
    install("acme-bad", plugins={"bad": "acme_bad:Bad"}, modules={"acme_bad.py": "import os\nos._exit(3)\n"})
    done = call("schema", "--plugins", "--json")
    assert done.code == 0, done.stderr
    assert "left out: " in done.stderr
    assert "acme-bad" in done.stderr
    validator = jsonschema_rs.Draft202012Validator(done.json)
    return lambda **more: validator.is_valid({"datasource": {"data": "load"}, "steps": ["clean"], **more})


def test_settings_of_installed_plugins_are_checked(accepts):
    assert accepts(plugins={"tally": {"limit": 3, "unit": "bytes"}, "logging": False, "artifacts": None})
    assert accepts(plugins={"someone-elses": {"any": 1}})
    assert not accepts(plugins={"tally": {"limit": 0}})
    assert not accepts(plugins={"tally": {"unit": "byte"}})
    assert not accepts(plugins={"tally": {"limits": 3}})
    assert not accepts(plugins={"tally": False})


def test_executors_are_checked_under_execution_too(accepts):
    assert accepts(execution={"parallel": {"max_workers": 2}})
    assert accepts(execution="serial")
    assert not accepts(execution={"parallel": {"max_worker": 2}})

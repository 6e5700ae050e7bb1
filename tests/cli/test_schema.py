"""`crystallize schema`: what editors are given."""

from __future__ import annotations

import json

import jsonschema_rs

from crystallize_plugins.config import schema


def test_the_schema_is_the_only_thing_on_stdout(crystallize):
    done = crystallize("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == schema()


def test_what_is_written_checks_a_config(crystallize):
    validator = jsonschema_rs.Draft202012Validator(json.loads(crystallize("schema").stdout))
    config = {"datasource": {"data": "load"}, "steps": ["clean", {"train": {"rate": 0.1}}]}
    assert validator.is_valid(config)
    assert not validator.is_valid({**config, "replicats": 3})


def test_asking_for_json_changes_nothing(crystallize):
    assert crystallize("schema", "--json").stdout == crystallize("schema").stdout

"""The published schema: one source for editors, for loading, and for the reference."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from crystallize_plugins.config import schema
from crystallize_plugins.config.schema import properties_at

KEYS = {
    "name", "description", "replicates", "seed", "strategy", "cli", "datasource", "steps", "outputs", "treatments",
    "hypotheses", "plugins", "execution", "retries", "backoff", "timeout", "max_failures", "fail_fast",
}  # fmt: skip


def rules(rule=None, path=()):
    """Give every part of the schema that says what a value has to be."""
    rule = schema() if rule is None else rule
    yield path, rule
    for name, inner in rule.get("properties", {}).items():
        yield from rules(inner, (*path, name))
    for name in ("items", "additionalProperties"):
        if isinstance(rule.get(name), dict):
            yield from rules(rule[name], (*path, name))


def test_it_is_a_schema_of_the_draft_that_it_names():
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(schema())


def test_it_has_the_keys_of_the_documented_table():
    assert set(schema()["properties"]) == KEYS
    assert set(properties_at(("cli",))) == {"group", "priority", "icon", "color", "hidden"}
    assert set(properties_at(("outputs", "any"))) == {"file_name", "writer", "loader"}
    assert set(properties_at(("hypotheses", 0))) == {"name", "verifier", "metrics", "ranker", "correction"}


@pytest.mark.parametrize("path", [path for path, _ in rules()], ids=".".join)
def test_every_value_says_what_it_has_to_be_and_shows_one(path):
    rule = dict(rules())[path]
    assert rule["x-expected"]
    assert not path or rule["examples"]
    for example in rule.get("examples", ()):
        assert list(jsonschema_rs.Draft202012Validator(rule).iter_errors(example)) == []


@pytest.mark.parametrize("path", [path for path, _ in rules() if path and path[-1] not in ("items", "additionalProperties")], ids=".".join)  # fmt: skip  # noqa: E501
def test_every_key_is_described(path):
    assert dict(rules())[path]["description"].endswith(".")


def test_a_caller_gets_a_copy(tmp_path):
    schema()["properties"].clear()
    assert set(schema()["properties"]) == KEYS


def test_an_object_with_named_keys_takes_no_others():
    for path, rule in rules():
        if "properties" in rule:
            assert rule["additionalProperties"] is False, path


def test_it_is_plain_json():
    assert json.loads(json.dumps(schema())) == schema()

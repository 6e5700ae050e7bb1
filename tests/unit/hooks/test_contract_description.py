"""The contract as data: what the last recorded version has, this one has too."""

from __future__ import annotations

import json
from pathlib import Path

from crystallize.hooks import CONTRACT, contract_description

RECORD = json.loads((Path(__file__).parent / "contract.json").read_text(encoding="utf-8"))


def test_the_contract_is_plain_data():
    described = contract_description()
    assert json.loads(json.dumps(described)) == described


def test_what_the_recorded_contract_has_is_still_there():
    now = contract_description()
    assert now["contract"] == CONTRACT
    assert set(RECORD["names"]) <= set(now["names"])
    for name, hook in RECORD["hooks"].items():
        assert now["hooks"][name]["arguments"][: len(hook["arguments"])] == hook["arguments"]
        assert {key: value for key, value in now["hooks"][name].items() if key != "arguments"} == {
            key: value for key, value in hook.items() if key != "arguments"
        }
    for role, members in RECORD["roles"].items():
        assert members.items() <= now["roles"][role].items()


def test_a_record_that_is_no_longer_the_contract_is_renewed_with_its_version():
    same = contract_description() == RECORD
    assert same or RECORD["contract"] != CONTRACT, "write contract_description() to contract.json, or raise CONTRACT"

"""Each small bad plugin fails the conformance kit, and the message names the rule that it breaks."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import random
import re
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
from tests.unit.testing.bad_plugins import DECLARED, IMPORTS, KINDS, RUNNING

from crystallize.discovery.metadata import rescan
from crystallize.hooks import deprecations as contract
from crystallize.hooks import find_plugins
from crystallize.testing import (
    RULES,
    ExecutorConformance,
    ObserverConformance,
    PluginConformance,
    StoreConformance,
    TransformerConformance,
    conformance,
)

CLASSES = {
    "plugin": PluginConformance,
    "observer": ObserverConformance,
    "transformer": TransformerConformance,
    "executor": ExecutorConformance,
    "store": StoreConformance,
}
NOT_BUILT = {"is-no-plugin", "cannot-be-built"}
# The kit is for plugins that can be imported and built; what it is inherited for has a class.
FOR_THE_KIT = [
    *(bad for bad in IMPORTS if bad.rule not in {"import-fails", "import-slow"}),
    *(
        bad
        for bad in DECLARED
        if bad.group == "crystallize.plugins" and bad.name not in {"is-no-plugin", "cannot-be-built"}
    ),
    *RUNNING,
    *KINDS,
]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a plugin into a folder on the path, import it, and put back what that does to this process."""
    monkeypatch.syspath_prepend(tmp_path)
    home, variables, states = Path.cwd(), dict(os.environ), (random.getstate(), np.random.get_state())

    def install(bad):
        record = bad.install(tmp_path)
        rescan()
        found = next(found for found in find_plugins() if found.distribution == record.distribution)
        conformance._examined_already.clear()
        return importlib.import_module(found.module)

    yield install
    os.chdir(home)
    os.environ.clear()
    os.environ.update(variables)
    random.setstate(states[0])
    np.random.set_state(states[1])
    monkeypatch.undo()
    rescan()


def messages_of(kit, make):
    """Run the tests of a kit one after the other; give what those said that failed."""
    instance = kit()
    for name in sorted(name for name in dir(kit) if name.startswith("test_")):
        test = getattr(instance, name)
        arguments = {"plugin": make(), "reopen": make}
        with contextlib.suppress(SkipTest):
            try:
                test(**{key: arguments[key] for key in inspect.signature(test).parameters})
            except AssertionError as error:
                yield name, str(error)


def rules_in(message):
    return set(re.findall(r"^\[([\w-]+)\] ", message, re.MULTILINE))


@pytest.mark.filterwarnings("ignore")  # what bad plugins leave open is theirs
@pytest.mark.parametrize("bad", FOR_THE_KIT, ids=lambda bad: bad.name)
def test_the_kit_fails_with_the_rule_that_is_broken(bad, installed, request):
    module = installed(bad)
    request.addfinalizer(
        lambda: [child.communicate() for child in getattr(module, "Bad", module).__dict__.get("children", ())]
    )
    target = getattr(module, bad.target, module.Bad)
    told = []
    for name, message in messages_of(CLASSES[bad.kit], target):
        assert rules_in(message) <= set(RULES), message
        assert rules_in(message), f"{name}: {message}"
        told.append(message)
        if bad.rule in rules_in(message):
            return
    pytest.fail("\n".join(told) or "the kit finds nothing")


def test_what_is_deprecated_is_named(monkeypatch):
    used = contract.Deprecation("collect", None, "1.2", "2.0", "on_event")
    monkeypatch.setattr(contract, "DEPRECATIONS", (used,))
    from crystallize import BasePlugin

    class Old(BasePlugin):
        neutral = True

        def collect(self, outcome):
            pass

    with pytest.raises(AssertionError, match=r"^\[deprecated\] .* use on_event"):
        PluginConformance().test_its_hooks_and_declarations_are_valid(Old())


def test_every_rule_has_a_bad_plugin():
    broken = {bad.rule for bad in [*IMPORTS, *DECLARED, *RUNNING, *KINDS]} | {"deprecated"}
    assert broken == set(RULES)

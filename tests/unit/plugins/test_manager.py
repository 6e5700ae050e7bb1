from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from crystallize.errors import PluginConflictError
from crystallize.hooks import HOOKS, ActivePlugins, BasePlugin, build_plugins


class Counter(BasePlugin):
    neutral = True
    on_error = "record"
    contract = ">=1,<2"

    def __init__(self, step=1):
        self.step = step
        self.seen = []

    def before_step(self, step):
        self.seen.append(step)

    def collect(self, experiment, outcome):
        return (experiment, outcome)


class Changes(BasePlugin):
    def __init__(self, factor=2):
        self.factor = factor

    def before_replicate(self, ctx):
        return self.factor


@pytest.fixture
def active():
    return ActivePlugins.resolve([Counter(3), Changes()])


def test_a_hook_that_nobody_implements_has_no_calls(active):
    implemented = {"before_step", "collect", "before_replicate"}
    assert {hook for hook in HOOKS if active.calls(hook)} == implemented
    assert active.calls("after_run") == ()


def test_an_unknown_hook_is_a_mistake_of_the_engine(active):
    with pytest.raises(KeyError):
        active.calls("before_everything")


def test_a_call_says_whose_it_is_and_what_it_declares(active):
    (call,) = active.calls("before_step")
    assert (call.info.name, call.neutral, call.on_error) == ("Counter", True, "record")
    assert call.info.contract == ">=1,<2"
    assert call.info.settings == {"step": 3}
    (call,) = active.calls("before_replicate")
    assert (call.info.name, call.neutral, call.on_error) == ("Changes", False, None)


def test_calls_take_every_argument_by_position(active):
    assert active.calls("collect")[0].fn("view", "outcome") == ("view", "outcome")
    active.calls("before_step")[0].fn("view", "a step", "ctx")
    assert active.plugins[0].seen == ["a step"]


def test_errors_pass_through_a_call_untouched():
    class Raises(BasePlugin):
        def before_step(self, step):
            raise LookupError(step)

    with pytest.raises(LookupError, match="a step"):
        ActivePlugins.resolve([Raises()]).calls("before_step")[0].fn("view", "a step", "ctx")


def test_plugins_names_and_infos_are_in_the_one_order():
    late = type("Late", (BasePlugin,), {"after": ("Counter",)})()
    active = ActivePlugins.resolve([late, counter := Counter()])
    assert active.plugins == (counter, late)
    assert active.names == ["Counter", "Late"]
    assert [info.name for info in active.infos] == active.names


def test_the_defaults_stand_where_the_contract_says():
    active = ActivePlugins.resolve([Counter(), *build_plugins([])])
    assert active.names == ["seed", "Counter", "logging", "artifacts"]


def test_no_plugins_are_fine():
    active = ActivePlugins.resolve([])
    assert (active.plugins, active.names, active.lock()) == ((), [], [])
    assert all(active.calls(hook) == () for hook in HOOKS)


def test_it_travels_with_state_names_and_settings_and_looks_nothing_up_again(active, tmp_path):
    active.plugins[0].seen.append("state")
    data = tmp_path / "active.pickle"
    data.write_bytes(pickle.dumps(active))
    again = pickle.loads(data.read_bytes())
    assert again.names == active.names
    assert again.plugins[0].seen == ["state"]
    assert again.plugins[0] is again.calls("before_step")[0].info.plugin
    assert again.lock() == active.lock()


def test_in_another_process_the_metadata_is_not_scanned(tmp_path, repository):
    (tmp_path / "mine.py").write_text(
        "from crystallize.hooks import BasePlugin\n"
        "class Mine(BasePlugin):\n"
        "    def __init__(self, size=1):\n        self.size = size\n"
        "    def before_run(self, experiment):\n        return self.size\n",
        encoding="utf-8",
    )
    make = (
        "import pickle, mine\nfrom crystallize.hooks import ActivePlugins\n"
        "pickle.dump(ActivePlugins.resolve([mine.Mine(7)]), open('active', 'wb'))"
    )
    use = (
        "import pickle, sys\nimport crystallize.discovery.metadata as metadata\n"
        "metadata._scan = lambda: sys.exit('scanned')\n"
        "active = pickle.load(open('active', 'rb'))\n"
        "print(active.names, active.infos[0].settings, active.calls('before_run')[0].fn('view'))"
    )
    subprocess.run([sys.executable, "-c", make], check=True, cwd=tmp_path)
    done = subprocess.run([sys.executable, "-c", use], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "['Mine'] {'size': 7} 7\n", done.stderr


def test_a_silent_hook_stays_silent_after_travelling():
    counter = Counter()
    counter.silent_hooks = ("before_step",)
    again = pickle.loads(pickle.dumps(ActivePlugins.resolve([counter])))
    assert again.calls("before_step") == ()
    assert len(again.calls("collect")) == 1


def test_resolved_plugins_fit_until_one_is_replaced_or_sits_out_other_hooks():
    counter, changes = Counter(), Changes()
    active = ActivePlugins.resolve([counter, changes])
    assert active.fits([counter, changes])
    assert not active.fits([changes, counter])
    assert not active.fits([counter])
    assert not active.fits([counter, Changes()])
    counter.silent_hooks = ("collect",)
    assert not active.fits([counter, changes])


def test_one_instance_twice_is_refused():
    counter = Counter()
    with pytest.raises(PluginConflictError, match=r"'Counter'.*given twice"):
        ActivePlugins.resolve([counter, counter])


def test_two_instances_of_one_class_are_fine():
    assert ActivePlugins.resolve([Counter(), Counter()]).names == ["Counter", "Counter"]


def test_two_of_one_default_kind_are_refused_whatever_their_class():
    from crystallize import SeedPlugin

    class MySeed(SeedPlugin):
        pass

    with pytest.raises(PluginConflictError, match=r"'seed' .*crystallize-plugins .*'MySeed'.*both of the kind 'seed'"):
        ActivePlugins.resolve([SeedPlugin(seed=1), MySeed(seed=2)])


def test_a_plugin_that_derives_from_a_default_stands_in_its_place():
    from crystallize import SeedPlugin

    class MySeed(SeedPlugin):
        pass

    assert ActivePlugins.resolve([Counter(), MySeed(seed=2)]).names == ["MySeed", "Counter"]


# ------------------------------------------------------------------ identity and lock


def test_only_plugins_that_are_not_neutral_enter_the_identity():
    one = ActivePlugins.resolve([Counter(1), Changes()])
    assert one.identity() == ActivePlugins.resolve([Changes()]).identity()
    assert len(one.identity()) == 1


def test_settings_enter_the_identity_and_live_state_does_not():
    plugin, other = Changes(2), Changes(3)
    identity = ActivePlugins.resolve([plugin]).identity()
    assert ActivePlugins.resolve([other]).identity() != identity
    plugin.factor = 99
    plugin.cache = {}
    assert ActivePlugins.resolve([plugin]).identity() == identity


def test_the_lock_can_be_written_as_json_and_is_the_callers_own(active):
    lock = active.lock()
    assert json.loads(json.dumps(lock, allow_nan=False)) == lock
    active.lock()[0]["settings"]["step"] = "changed"
    assert active.lock() == lock
    assert lock[0] == {
        "name": "Counter",
        "distribution": None,
        "version": None,
        "contract": ">=1,<2",
        "entry_point": None,
        "class": f"{Counter.__module__}:Counter",
        "order": 0,
        "neutral": True,
        "asked_by": "code",
        "settings": {"step": 3},
        "opaque": [],
        "digests": {},
        "editable": False,
    }


def test_being_resolved_does_not_change_a_plugins_code():
    from crystallize.fingerprint import code_of

    class Mine(BasePlugin):
        def before_run(self):
            pass

    before = code_of(Mine)
    ActivePlugins.resolve([Mine()])
    assert code_of(Mine) == before

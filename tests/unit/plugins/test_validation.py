from __future__ import annotations

import functools
import types

import pytest

from crystallize.errors import CrystallizeError, PluginContractError, PluginDefinitionError
from crystallize.hooks import CONTRACT, HOOKS, ActivePlugins, BasePlugin, hookimpl, not_a_hook


def refused(plugin, *words, error=PluginDefinitionError):
    with pytest.raises(error) as caught:
        ActivePlugins.resolve([plugin])
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert isinstance(caught.value, CrystallizeError)
    return caught.value


def plugin_with(**attributes):
    return type("Mine", (BasePlugin,), attributes)()


def accepted(plugin):
    return ActivePlugins.resolve([plugin])


# ------------------------------------------------------------------ what is a plugin


def test_a_class_where_an_instance_is_needed_is_refused_with_the_call_to_write():
    class Mine(BasePlugin):
        pass

    assert refused(Mine, "plugin 'Mine'", "is the class", "write Mine()").plugin == "Mine"


@pytest.mark.parametrize(
    "thing", [5, pytest.param(object(), id="object"), "seed", None, [], types.SimpleNamespace(before=1)], ids=repr
)
def test_a_thing_without_hooks_is_no_plugin(thing):
    refused(thing, "is no plugin", "BasePlugin", "@hookimpl")


@pytest.mark.parametrize("thing", [types, print, lambda experiment: None], ids=["module", "builtin", "lambda"])
def test_modules_and_functions_are_no_plugins(thing):
    refused(thing, "is no plugin", "instance of a plugin class")


def test_marking_methods_makes_a_plugin_of_any_class():
    class Marked:
        @hookimpl
        def before_run(self, experiment):
            return "called"

        @hookimpl(specname="after_run")
        def at_the_end(self, result):
            return result

    active = accepted(Marked())
    assert active.infos[0].hooks == ("before_run", "after_run")
    assert active.calls("before_run")[0].fn("view") == "called"
    assert active.calls("after_run")[0].fn("view", "result") == "result"


def test_a_base_plugin_without_hooks_is_a_plugin():
    assert accepted(plugin_with()).infos[0].hooks == ()


def test_an_optional_hook_that_this_core_lacks_is_left_alone():
    class Future:
        @hookimpl
        def before_run(self):
            pass

        @hookimpl(optionalhook=True)
        def before_the_flood(self, water):
            pass

    assert accepted(Future()).infos[0].hooks == ("before_run",)


def test_static_and_class_methods_and_inherited_ones_are_hooks():
    class Parent(BasePlugin):
        def before_run(self, experiment):
            return "parent"

    class Mine(Parent):
        @staticmethod
        def collect(outcome):
            return ("static", outcome)

        @classmethod
        def on_event(cls, event):
            return (cls.__name__, event)

    active = accepted(Mine())
    assert active.calls("before_run")[0].fn("view") == "parent"
    assert active.calls("collect")[0].fn("view", "o") == ("static", "o")
    assert active.calls("on_event")[0].fn("view", "e") == ("Mine", "e")


def test_a_property_is_never_evaluated():
    class Mine(BasePlugin):
        @property
        def connection(self):
            raise AssertionError("looked at")

        def before_run(self):
            pass

    accepted(Mine())


def test_a_method_made_on_the_instance_is_a_hook():
    class Mine(BasePlugin):
        def __init__(self):
            self.before_run = lambda experiment: ("own", experiment)

    assert accepted(Mine()).calls("before_run")[0].fn("view") == ("own", "view")


# ------------------------------------------------------------------ spelling


@pytest.mark.parametrize(
    "name", ["before_runs", "befor_step", "after_setp", "onevent", "Collect", "afterRun", "colect"]
)
def test_a_method_one_edit_from_a_hook_is_refused_with_the_hook(name):
    error = refused(plugin_with(**{name: lambda self: None}), "'Mine'", name, "the nearest is", "@not_a_hook")
    assert error.hook in HOOKS


def test_a_method_marked_as_no_hook_is_let_be():
    accepted(plugin_with(collects=not_a_hook(lambda self: None)))


def test_private_methods_and_plain_values_are_let_be():
    accepted(plugin_with(_before_run=lambda self: None, collects=5))


def test_a_marked_method_that_is_no_hook_is_refused_with_the_nearest():
    class Marked:
        @hookimpl
        def before_all(self):
            pass

    refused(Marked(), "'Marked'", "before_all", "no hook is called", "the nearest is before_")


def test_an_unmarked_method_of_a_hooks_name_in_a_plain_class_is_refused():
    class Marked:
        @hookimpl
        def before_run(self):
            pass

        def after_run(self, result):
            pass

    refused(Marked(), "after_run", "not marked", "@hookimpl")


@pytest.mark.parametrize("value", [None, 5, functools.partial(print), property(lambda self: None)])
def test_a_hook_hidden_by_something_that_is_no_method_is_refused(value):
    refused(plugin_with(before_run=value), "before_run", "no method")


def test_one_hook_implemented_twice_is_refused():
    class Mine(BasePlugin):
        def before_run(self):
            pass

        @hookimpl(specname="before_run")
        def prepare(self):
            pass

    refused(Mine(), "before_run twice", "prepare")


# ------------------------------------------------------------------ arguments


def test_an_implementation_names_only_what_it_uses_in_any_order():
    class Mine(BasePlugin):
        def after_step(self, ctx, data):
            return ctx, data

    assert accepted(Mine()).calls("after_step")[0].fn("experiment", "step", "data", "ctx") == ("ctx", "data")


def test_an_implementation_that_names_everything_is_called_directly():
    class Mine(BasePlugin):
        def before_step(self, experiment, step, ctx):
            pass

    plugin = Mine()
    assert accepted(plugin).calls("before_step")[0].fn == plugin.before_step


def test_an_argument_with_a_default_is_handed_over_too():
    class Mine(BasePlugin):
        def collect(self, outcome=None):
            return outcome

    assert accepted(Mine()).calls("collect")[0].fn("view", "outcome") == "outcome"


@pytest.mark.parametrize("argument", ["contxt", "context", "ctx_"])
def test_an_unknown_argument_is_refused_with_the_nearest_and_the_signature(argument):
    namespace = {}
    exec(f"def before_step(self, {argument}): pass", namespace)
    error = refused(
        plugin_with(before_step=namespace["before_step"]), argument, "'ctx'", "before_step(experiment, step, ctx)"
    )
    assert error.hook == "before_step"


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda self, *args: None, "*args"),
        (lambda self, **kwargs: None, "**kwargs"),
        (lambda self, *, experiment: None, "'experiment' by keyword only"),
        (lambda self, experiment, /: None, "'experiment' by position only"),
    ],
)
def test_kinds_of_arguments_that_cannot_be_named_are_refused(function, said):
    refused(plugin_with(before_run=function), said, "before_run(experiment)")


def test_a_method_without_self_is_refused():
    refused(plugin_with(before_run=lambda: None), "before_run", "self")


def test_a_decorator_that_keeps_the_signature_is_fine():
    def shout(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return f"{function(*args, **kwargs)}!"

        return wrapper

    class Mine(BasePlugin):
        @shout
        def before_step(self, step):
            return step

    assert accepted(Mine()).calls("before_step")[0].fn("experiment", "step", "ctx") == "step!"


# ------------------------------------------------------------------ what cannot work


@pytest.mark.parametrize("option", ["tryfirst", "trylast", "wrapper", "hookwrapper"])
def test_pluggys_ways_to_order_and_wrap_are_refused_with_what_to_use(option):
    def before_run(self, experiment):
        yield

    class Marked:
        pass

    Marked.before_run = hookimpl(before_run, **{option: True})
    instead = {"tryfirst": "before = ", "trylast": "after = "}.get(option, "before_... and after_...")
    refused(Marked(), "'Marked'", option, instead)


async def coroutine(self):
    pass


def generator(self):
    yield


async def async_generator(self):
    yield


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "run_experiment_loop"])
def test_a_hook_that_would_never_be_awaited_is_refused(hook):
    refused(plugin_with(**{hook: coroutine}), hook, "coroutine", "never awaited")
    refused(plugin_with(**{hook: async_generator}), hook, "yield")


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in {"run_experiment_loop", "completed_cells"}])
def test_a_hook_whose_body_would_never_run_is_refused(hook):
    refused(plugin_with(**{hook: generator}), hook, "never run")


def test_an_executor_may_be_a_generator_of_either_kind_but_no_coroutine():
    accepted(plugin_with(run_experiment_loop=generator))
    accepted(plugin_with(run_experiment_loop=async_generator))
    refused(plugin_with(run_experiment_loop=coroutine), "async generator")


# ------------------------------------------------------------------ declarations


@pytest.mark.parametrize("value", ["skip", True, 1, "RECORD", lambda self: None])
def test_an_unknown_on_error_is_refused(value):
    refused(plugin_with(on_error=value), "on_error", "'record', 'fail_cell' or 'stop_run'")


@pytest.mark.parametrize("value", ["yes", 1, 0, ()])
def test_a_neutral_that_is_no_flag_is_refused(value):
    refused(plugin_with(neutral=value), "neutral", "True, False or None")


@pytest.mark.parametrize("relation", ["before", "after", "requires"])
@pytest.mark.parametrize("value", [5, (5,), {"a": 1}, pytest.param((BasePlugin(),), id="(BasePlugin(),)")], ids=repr)
def test_a_relation_that_names_no_plugins_is_refused(relation, value):
    refused(plugin_with(**{relation: value}), relation, "names of plugins or classes")


@pytest.mark.parametrize("value", ["after_step", ("after_stop",)])
def test_silent_hooks_that_are_no_hooks_are_refused(value):
    refused(plugin_with(silent_hooks=value), "silent_hooks")


@pytest.mark.parametrize("value", ["cell_finished", 5, (5,)])
def test_wanted_events_that_are_no_names_are_refused(value):
    refused(plugin_with(wanted_events=value), "wanted_events")


def test_a_contract_that_is_offered_is_accepted():
    accepted(plugin_with(contract=">=1,<2"))
    accepted(plugin_with(contract=f"=={CONTRACT}"))


def test_a_contract_that_is_not_offered_is_refused_with_what_is():
    error = refused(
        plugin_with(contract=">=2"), "'Mine'", "'>=2'", CONTRACT, "crystallize-core", error=PluginContractError
    )
    assert error.plugin == "Mine"


def test_a_plugin_for_another_contract_is_not_held_to_this_ones_hooks():
    later = plugin_with(contract=">=2", before_runs=lambda self: None)
    refused(later, "needs the hook contract", error=PluginContractError)


@pytest.mark.parametrize("value", ["two", ">=1;", 1, (1, 0)])
def test_a_contract_that_cannot_be_read_is_refused(value):
    refused(plugin_with(contract=value), "contract", ">=1,<2")


def test_equal_plugins_may_stand_side_by_side():
    class Same(BasePlugin):
        def __eq__(self, other):
            return True

        __hash__ = None

        def before_run(self):
            pass

    assert len(ActivePlugins.resolve([Same(), Same()]).calls("before_run")) == 2


# ------------------------------------------------------------------ what is checked once


def test_a_class_that_was_checked_is_checked_again_once_it_changes():
    class Mine(BasePlugin):
        def before_run(self):
            pass

    assert accepted(Mine()).infos[0].hooks == ("before_run",)
    Mine.collect = lambda self, outcome: outcome
    assert accepted(Mine()).infos[0].hooks == ("before_run", "collect")
    Mine.after_runs = lambda self: None
    refused(Mine(), "after_runs")
    del Mine.after_runs
    assert accepted(Mine()).calls("collect")[0].fn("view", "outcome") == "outcome"


def test_a_parent_class_that_changes_is_noticed():
    class Parent(BasePlugin):
        pass

    class Mine(Parent):
        def before_run(self):
            pass

    accepted(Mine())
    Parent.before_rum = lambda self: None
    refused(Mine(), "before_rum")


def test_one_instances_own_methods_are_not_taken_for_anothers():
    class Mine(BasePlugin):
        def before_run(self):
            return "class"

    own = Mine()
    own.before_run = lambda: "own"
    assert [accepted(plugin).calls("before_run")[0].fn("view") for plugin in (Mine(), own, Mine())] == [
        "class",
        "own",
        "class",
    ]


def test_declarations_are_checked_for_each_instance():
    class Mine(BasePlugin):
        def __init__(self, on_error=None):
            self.on_error = on_error

        def before_run(self):
            pass

    accepted(Mine())
    refused(Mine("never"), "on_error")


def test_a_checked_class_can_be_carried_to_another_process():
    import cloudpickle

    class Mine(BasePlugin):
        def before_run(self):
            return "carried"

    plugin = Mine()
    accepted(plugin)
    again = cloudpickle.loads(cloudpickle.dumps(plugin))
    assert accepted(again).calls("before_run")[0].fn("view") == "carried"


def test_a_checked_class_and_its_instances_can_go():
    import gc
    import inspect
    import sys
    import weakref

    class Mine(BasePlugin):
        def before_run(self):
            pass

    plugin = Mine()
    accepted(plugin)
    instance, cls = weakref.ref(plugin), weakref.ref(Mine)
    del plugin, Mine
    if sys.version_info[:2] == (3, 12):
        # Its first releases keep every class that `inspect.getattr_static` has looked at.
        inspect._shadowed_dict_from_mro_tuple.cache_clear()
    gc.collect()
    assert instance() is None
    assert cls() is None


# ------------------------------------------------------------------ deprecation


def test_a_deprecated_hook_warns_the_plugins_author(monkeypatch):
    from crystallize.hooks import HookSpecs
    from crystallize.plugins.validation import _verifier

    monkeypatch.setitem(HookSpecs.collect.crystallize_spec, "warn_on_impl", DeprecationWarning("collect goes in 2.0"))
    _verifier.cache_clear()
    try:
        with pytest.warns(DeprecationWarning, match=r"collect goes in 2\.0") as caught:
            accepted(plugin_with(collect=lambda self, outcome: None))
        assert caught[0].filename == __file__
    finally:
        _verifier.cache_clear()

"""Data sources by name."""

from __future__ import annotations

import pytest

from crystallize import data_source, get_datasource, list_datasources, register_datasource
from crystallize.datasources import registry
from crystallize.errors import ArgumentTypeError, DuplicateNameError, MissingParameterError, UnknownNameError


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(registry, "_SOURCES", {})


@data_source
def seven(ctx):
    return 7


@data_source
def times(ctx, factor):
    return 7 * factor


def test_what_was_registered_is_found_ready_to_fetch(cell):
    @data_source("nine", register=True)
    def source(ctx):
        return 9

    @data_source(register=True)
    def by_function_name(ctx):
        return 10

    register_datasource("made", seven())
    register_datasource("factory", seven)
    found = [get_datasource(name).fetch(cell()) for name in ("nine", "by_function_name", "made", "factory")]
    assert found == [9, 10, 7, 7]
    assert list_datasources() == ["by_function_name", "factory", "made", "nine"]


def test_a_name_alone_registers_nothing():
    @data_source("quiet")
    def source(ctx):
        return 1

    assert list_datasources() == []
    assert source().name == "quiet"


def test_a_registered_factory_takes_parameters_and_a_ready_source_none(cell):
    register_datasource("times", times)
    register_datasource("ready", seven())
    assert get_datasource("times", factor=3).fetch(cell()) == 21
    with pytest.raises(MissingParameterError, match="factor"):
        get_datasource("times").fetch(cell())
    with pytest.raises(ArgumentTypeError, match="takes no parameters, but got factor"):
        get_datasource("ready", factor=3)


def test_a_second_source_of_one_name_is_refused_and_the_first_stays(cell):
    register_datasource("one", seven())
    with pytest.raises(DuplicateNameError, match="'one' is registered already"):
        register_datasource("one", times(factor=2))
    with pytest.raises(ValueError, match="one"):

        @data_source("one", register=True)
        def other(ctx):
            return 1

    assert get_datasource("one").fetch(cell()) == 7


def test_two_local_functions_of_one_name_are_two_sources():
    def define():
        @data_source("local", register=True)
        def source(ctx):
            return 1

    define()
    with pytest.raises(DuplicateNameError):
        define()


def test_a_module_that_is_executed_again_takes_its_own_place(cell):
    namespace = {"__name__": "steps_of_a_user"}
    text = "from crystallize import data_source\n@data_source('again', register=True)\ndef source(ctx): return {0}\n"
    for value in (1, 2):
        exec(text.format(value), namespace)
        assert get_datasource("again").fetch(cell()) == value
    with pytest.raises(DuplicateNameError):
        exec(text.format(3).replace("def source", "def other"), namespace)


def test_registering_the_very_same_source_again_is_no_conflict():
    register_datasource("same", seven)
    register_datasource("same", seven)
    assert list_datasources() == ["same"]


def test_an_unknown_name_is_a_key_error_that_lists_the_names_and_the_nearest():
    register_datasource("training", seven)
    register_datasource("validation", seven)
    with pytest.raises(UnknownNameError, match="'trainign'.*'training', 'validation'.*Did you mean 'training'"):
        get_datasource("trainign")
    with pytest.raises(KeyError):
        get_datasource("other")


@pytest.mark.parametrize("wrong", [5, "text", None, len])
def test_only_data_sources_can_be_registered(wrong):
    with pytest.raises(ArgumentTypeError, match="data source 'x'"):
        register_datasource("x", wrong)
    assert list_datasources() == []


def test_a_name_is_text_that_says_something():
    with pytest.raises(ArgumentTypeError, match="must be text, not int"):
        register_datasource(5, seven)
    with pytest.raises(ValueError, match="must not be empty"):
        data_source(" ", register=True)

"""`@data_source`: functions as data sources."""

from __future__ import annotations

import asyncio
import functools
import pickle
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from crystallize import DataSource, Experiment, Pipeline, data_source, pipeline_step
from crystallize.errors import ArgumentTypeError, CrystallizeError, MissingParameterError
from crystallize.fingerprint import value_of


@data_source
def bare(ctx):
    """Count to three."""
    return [1, 2, 3]


@data_source()
def with_parentheses(ctx, *, value=2, items=(1,)):
    return [value, *items]


@data_source
def needs(ctx, value, other=1):
    return value, other


@data_source
async def later(ctx, *, value=5):
    await asyncio.sleep(0)
    return value


def test_every_form_of_the_decorator_makes_a_factory_of_data_sources(cell):
    @data_source("a name of its own")
    def named(ctx):
        return "named"

    made = [bare(), with_parentheses(), named()]
    assert all(isinstance(source, DataSource) for source in made)
    assert [source.fetch(cell()) for source in made] == [[1, 2, 3], [2, 1], "named"]
    assert [source.name for source in made] == ["bare", "with_parentheses", "a name of its own"]


def test_a_factory_keeps_the_functions_name_and_text():
    assert (bare.__name__, bare.__doc__) == ("bare", "Count to three.")
    assert repr(needs(value=[1])) == "needs(value=[1])"


def test_parameters_go_by_keyword_and_are_what_params_says(cell):
    source = needs(value=3)
    assert source.fetch(cell()) == (3, 1)
    assert source.params == {"value": 3, "other": 1}
    with pytest.raises(TypeError):
        source.params["value"] = 4


def test_the_function_gets_the_context_of_the_cell(cell):
    @data_source
    def look(context, *, key="replicate"):
        return context[key]

    assert look().fetch(cell(replicate=7)) == 7
    assert look(key="rate").fetch(cell(rate=0.5)) == 0.5


def test_an_unknown_parameter_is_named_with_the_nearest():
    with pytest.raises(ArgumentTypeError, match=r"needs has no parameter 'valeu'.*value, other.*mean 'value'\?"):
        needs(valeu=1)


def test_a_required_parameter_that_neither_is_given_nor_is_in_the_context_is_named_when_the_data_is_fetched(cell):
    with pytest.raises(MissingParameterError, match=r"needs the parameter 'value'.*needs\(value="):
        needs().fetch(cell())
    with pytest.raises(TypeError):
        needs(other=2).fetch(cell())


def test_a_positional_argument_is_refused_with_the_way_to_write_it(cell):
    with pytest.raises(ArgumentTypeError, match=r"by keyword only \(value, other\)"):
        needs(3)
    with pytest.raises(ArgumentTypeError, match=r"bare\(\)\.fetch\(ctx\)"):
        bare(cell())


@pytest.mark.parametrize(
    "wrong",
    [lambda: 1, lambda *, ctx: 1, lambda **ctx: 1, lambda ctx, a, /: 1, 5, b"name", DataSource],
)
def test_what_cannot_take_the_context_first_is_refused(wrong):
    with pytest.raises(ArgumentTypeError):
        data_source(wrong)


def test_a_function_may_take_any_keyword(cell):
    @data_source
    def open_ended(ctx, **parameters):
        return parameters

    assert open_ended(a=1, b=2).fetch(cell()) == {"a": 1, "b": 2}


def test_callable_objects_and_partials_are_functions_too(cell):
    class Reader:
        def __call__(self, ctx, *, n=1):
            return n

    def read(ctx, n):
        return n

    assert data_source(Reader())(n=4).fetch(cell()) == 4
    assert data_source(functools.partial(read, n=5))().fetch(cell()) == 5


# -- isolation ----------------------------------------------------------------------------------------


def test_what_a_fetch_does_to_its_parameters_changes_no_other_fetch(cell):
    mine = {"grid": [1]}

    @data_source
    def spoil(ctx, *, given, default=[0]):  # noqa: B006 - the mistake that isolation forgives
        given["grid"].append(2)
        default.append(1)
        return given, default

    source = spoil(given=mine)
    mine["grid"].append(9)
    source.params["given"]["grid"].append(8)
    for _ in range(2):
        assert source.fetch(cell()) == ({"grid": [1, 2]}, [0, 1])
    assert mine == {"grid": [1, 9]}


def test_an_array_reaches_the_function_without_a_copy_and_cannot_be_changed(cell):
    array = np.zeros(1000)

    @data_source
    def look(ctx, *, values):
        return values

    seen = look(values=array).fetch(cell())
    assert np.shares_memory(seen, array)
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1


# -- async --------------------------------------------------------------------------------------------


def test_an_async_source_says_so_and_gives_a_coroutine(cell):
    assert later().is_async
    assert not bare().is_async
    assert asyncio.run(later(value=6).fetch(cell())) == 6


def test_async_is_seen_through_partials_and_callable_objects():
    class Reader:
        async def __call__(self, ctx):
            return 1

    async def read(ctx, n):
        return n

    assert data_source(Reader())().is_async
    assert data_source(functools.partial(read, n=5))().is_async


def test_an_async_source_feeds_an_experiment():
    @pipeline_step()
    def note(data, ctx):
        ctx.record("v", data)
        return data

    result = Experiment(later(value=7), Pipeline([note()]), default_plugins=False).run(replicates=2)
    assert result.metrics.baseline.metrics == {"v": [7, 7]}


# -- travelling ---------------------------------------------------------------------------------------


def test_a_source_of_a_module_pickles_by_name(cell):
    source = with_parentheses(value=[1, {"a": 2}], items=[3])
    source.replicates = 4
    carried = pickle.dumps(source)
    assert len(carried) < 300
    again = pickle.loads(carried)
    assert again.fetch(cell()) == source.fetch(cell())
    assert (again.params, again.replicates) == (source.params, 4)


def test_a_local_source_and_one_with_lambdas_travel_with_cloudpickle(cell):
    offset = 10

    @data_source
    def local(ctx, *, fn):
        return fn(offset)

    again = cloudpickle.loads(cloudpickle.dumps(local(fn=lambda x: x + 1)))
    assert again.fetch(cell()) == 11


def test_a_source_of_a_script_travels_to_another_process(run_script):
    finished = run_script(
        """
        import multiprocessing, cloudpickle
        from crystallize import data_source, standalone_context

        @data_source
        def numbers(ctx, *, n=2):
            return list(range(n))

        def fetch(text):
            return cloudpickle.loads(text).fetch(standalone_context())

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(fetch, [cloudpickle.dumps(numbers(n=3))]))
        """
    )
    assert finished.stdout == "[0, 1, 2]\n", finished.stderr


# -- identity -----------------------------------------------------------------------------------------


def test_function_parameters_and_files_make_the_identity_of_the_data(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("1,2")

    @data_source(depends_on=[file])
    def table(ctx, *, sep=","):
        return file.read_text().split(sep)

    before = value_of(table())
    assert value_of(table()) == value_of(table(sep=",")) == before
    assert value_of(table(sep=";")) != before
    many = table()
    many.replicates = 50
    assert value_of(many) == before
    file.write_text("1,3")
    assert value_of(table()) != before
    file.write_text("1,2")
    assert value_of(table()) == before


def test_files_may_be_given_as_one_path_or_several_and_nothing_else(tmp_path):
    def read(ctx):
        return 1

    assert data_source(depends_on="a.csv")(read)().depends_on == (Path("a.csv"),)
    assert data_source(read, depends_on=[tmp_path, "b"])().depends_on == (tmp_path, Path("b"))
    with pytest.raises(ArgumentTypeError, match="depends_on must be a list of paths"):
        data_source(depends_on=5)


def test_every_refusal_is_ours():
    for attempt in (
        lambda: needs().fetch(None),
        lambda: needs(a=1),
        lambda: data_source(5),
        lambda: data_source(register="yes"),
    ):
        with pytest.raises(CrystallizeError):
            attempt()

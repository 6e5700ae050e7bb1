"""`DataSource`: sources written as classes, and what passes for a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from crystallize import DataSource, Experiment, Pipeline, data_source, pipeline_step
from crystallize.datasources import as_data_source
from crystallize.errors import ArgumentTypeError, MissingParameterError
from crystallize.fingerprint import value_of


class Lines(DataSource):
    def __init__(self, text, replicates=None):
        self.text = text
        self.replicates = replicates
        self._opened = object()

    def fetch(self, ctx):
        return self.text.splitlines()


@dataclass
class Table(DataSource):
    rows: list
    sep: str = ","

    async def fetch(self, ctx):
        return self.rows


@pipeline_step()
def size(data, ctx):
    ctx.record("size", len(data))
    return data


def test_a_class_needs_fetch_and_nothing_else():
    class Nothing(DataSource):
        pass

    with pytest.raises(TypeError, match="fetch"):
        Nothing()
    assert Lines("a\nb").fetch(None) == ["a", "b"]
    assert not Lines("").is_async
    assert Table([]).is_async


def test_public_attributes_are_the_params_and_cannot_be_changed_through_them():
    table = Table([1])
    assert Lines("a", 3).params == {"text": "a"}
    table.params["rows"].append(2)
    assert table.params == {"rows": [1], "sep": ","}


def test_a_class_may_say_what_its_params_are():
    class Own(Lines):
        @property
        def params(self):
            return {"length": len(self.text)}

    assert Own("abc").params == {"length": 3}


def test_an_experiment_runs_as_many_replicates_as_the_data_offers():
    def run(source, **more):
        result = Experiment(source, Pipeline([size()]), default_plugins=False).run(**more)
        return result.metrics.baseline.metrics["size"]

    assert run(Lines("a\nb", 3)) == [2, 2, 2]
    assert run(Lines("a\nb", 3), replicates=1) == [2]
    assert run(Lines("a\nb")) == [2]


def test_a_class_source_is_known_by_code_attributes_and_files_but_not_by_its_number_of_replicates(tmp_path):
    class Slotted(Lines):
        __slots__ = ("more",)

    def slotted(more):
        made = Slotted("a")
        made.more = more
        made._opened = None
        return made

    assert value_of(Table([1])) == value_of(Table([1])) != value_of(Table([2]))
    assert value_of(slotted(1)) == value_of(slotted(1)) != value_of(slotted(2))
    assert value_of(Lines("a", 3)) == value_of(Lines("a", 5)) != value_of(Lines("b", 3))

    file = Path(tmp_path / "x")
    file.write_text("1")
    source = Lines("a")
    before = value_of(source)
    source.depends_on = (file,)
    with_file = value_of(source)
    file.write_text("2")
    assert len({before, with_file, value_of(source)}) == 3


def test_a_factory_that_was_not_called_is_called():
    @data_source
    def one(ctx):
        return 1

    @data_source
    def needs(ctx, value):
        return value

    assert as_data_source(one).fetch(None) == 1
    with pytest.raises(MissingParameterError, match="value"):
        as_data_source(needs).fetch(None)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ("junk", "must be a data source"),
        (None, "not None"),
        (len, "Decorate the function"),
        (Lines, "give an instance, Lines"),
        ({"a": 1}, "dict"),
    ],
)
def test_what_is_no_data_source_is_refused_with_what_to_do(wrong, says):
    with pytest.raises(ArgumentTypeError, match=says):
        as_data_source(wrong)

"""The ledger: each cell is done once, whatever is lost, comes late or comes twice."""

from __future__ import annotations

import pickle

import pytest

from crystallize import Experiment, Treatment, data_source, pipeline, pipeline_step
from crystallize.errors import WorkerCrashError
from crystallize.hooks import ExecutorPlugin
from crystallize_plugins.execution.remote import Ledger


@data_source
def source(ctx):
    return ctx["replicate"]


@pipeline_step()
def noted(data):
    return data, {"n": data}


class Played(ExecutorPlugin):
    """Has a test play the engine."""

    def __init__(self, play, **options):
        self.play, self.options = play, options

    def run_experiment_loop(self, experiment, cells, run_cell):
        ledger = Ledger(experiment, cells, run_cell, **self.options)

        def ran(batch):
            return pickle.dumps(("there", "host", [("outcomes", pickle.dumps([run_cell(cell) for cell in batch]))]))

        yield from self.play(ledger, ran)
        self.ledger = ledger


def played(play, replicates=4, **options):
    engine = Played(play, **options)
    experiment = Experiment(source(), pipeline(noted()), treatments=[Treatment("t", {})], plugins=[engine])
    return experiment.run(replicates=replicates), engine.ledger


def rest(ledger, ran):
    while ledger.unfinished:
        yield ledger.take(ran(ledger.batch(60)))


def test_a_cell_is_done_once_however_often_it_comes():
    def play(ledger, ran):
        first = ledger.batch(60)
        data = ran(first)
        assert [outcome.cell for outcome in ledger.take(data)] == first
        yield []
        assert ledger.take(data) == []  # it was taken
        ledger.returned(first)
        assert ledger.lost(first, "too late") == []
        again = ledger.batch(60)
        assert ledger.lost(again, "the host left") == []
        assert ledger.take(ran(again)) == []  # of a host that was given up: it is out no more
        yield from rest(ledger, ran)

    engine = Played(rest)
    experiment = Experiment(source(), pipeline(noted()), plugins=[engine])
    assert list(experiment.run(replicates=3).metrics.baseline.metrics["n"]) == [0, 1, 2]
    with pytest.raises(Exception, match="baseline"):  # the engine misses the outcomes that the test kept for itself
        played(play)


def test_lost_cells_run_again_and_are_given_up_after_so_many_losses():
    def play(ledger, ran):
        poison = ledger.batch(60)
        assert len(poison) == 1  # nothing is known of its condition yet
        for times in range(2):
            assert ledger.lost(poison, f"loss {times}", site="there") == []
            batch = ledger.batch(60)
            while batch != poison:
                yield ledger.take(ran(batch))
                batch = ledger.batch(60)
        yield ledger.lost(poison, "the third time", site="there")
        yield from rest(ledger, ran)

    result, ledger = played(play)
    (error,) = result.errors.values()
    assert isinstance(error.__cause__, WorkerCrashError)
    assert "lost with its host 3 times, and max_losses is 2; the last time, the third time" in str(error)
    assert ledger.losses == 3
    assert ledger.workers["there"] | {"seconds": 0} == {"host": "host", "cells": 7, "seconds": 0, "losses": 3}


def test_batches_hold_cells_of_one_group():
    def play(ledger, ran):
        assert ledger.groups == ("small", "big")
        assert ledger.batch(group="else") == []
        while ledger.unfinished:
            for group, condition in (("small", "baseline"), ("big", "t")):
                batch = ledger.batch(60, group=group)
                assert {cell.condition for cell in batch} <= {condition}
                yield ledger.take(ran(batch))

    result, _ = played(play, group_of={"baseline": "small", "t": "big"}.get)
    assert not result.errors

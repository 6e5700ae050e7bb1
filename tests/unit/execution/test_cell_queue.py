"""Which cells go to which worker: every cell once, batches of about ten milliseconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crystallize_plugins.execution.processes.cell_queue import CellQueue


def test_a_kind_that_was_never_seen_goes_out_alone():
    queue = CellQueue(["a"] * 100)
    assert queue.batch(2) == [0]


def test_short_cells_go_out_in_batches_and_long_ones_alone():
    queue = CellQueue(["short"] * 1000 + ["long"] * 1000)
    queue.batch(2)
    queue.finished(0, 0.0001)
    assert 99 <= len(queue.batch(2)) <= 101
    long_ones = CellQueue(["long"] * 1000)
    long_ones.batch(2)
    long_ones.finished(0, 1.0)
    assert len(long_ones.batch(2)) == 1


def test_a_long_kind_ends_a_batch_of_short_ones():
    queue = CellQueue(["short", "long"] * 500)
    for index in (*queue.batch(2), *queue.batch(2)):
        queue.finished(index, 1.0 if index % 2 else 0.0001)
    assert queue.batch(2) == [2, 3]


def test_near_the_end_everybody_gets_a_share():
    queue = CellQueue(["a"] * 41)
    queue.batch(2)
    queue.finished(0, 0.0005)
    assert len(queue.batch(2)) == 10


def test_a_share_is_worth_the_asking():
    queue = CellQueue(["a"] * 2001)
    queue.batch(2)
    queue.finished(0, 0.00001)
    sizes = []
    while batch := queue.batch(2):
        sizes.append(len(batch))
    assert min(sizes[:-1]) >= 100
    assert max(sizes) == 500


def test_a_cell_is_finished_once():
    queue = CellQueue(["a"])
    assert queue.finished(0, 0.1)
    assert not queue.finished(0, 0.1)


@given(
    st.lists(st.sampled_from("abc"), max_size=60),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_every_cell_is_done_once_whatever_is_given_back(kinds, workers, chance):
    queue = CellQueue(kinds)
    done = []
    while queue.unfinished:
        batch = [queue.suspect()] if queue.has_suspects else queue.batch(workers)
        assert batch
        cut = chance.randint(0, len(batch))
        for index in batch[:cut]:
            assert queue.finished(index, chance.random() / 50)
            done.append(index)
        rest = batch[cut:]
        if rest and chance.random() < 0.5:
            queue.suspect_again(rest.pop())
        queue.give_back(rest)
    assert sorted(done) == list(range(len(kinds)))
    assert queue.waiting == 0

"""The folder that a coordinator and its jobs share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks import Cell
from crystallize_plugins.execution import SlurmExecution
from crystallize_plugins.execution.slurm.commands import checked_options
from crystallize_plugins.execution.slurm.folder import JobFolder, RecordReader, RecordWriter, cells_of
from crystallize_plugins.execution.slurm.following import chunked

CELLS = [Cell("baseline", replicate) for replicate in range(100)]


@pytest.fixture
def folder(tmp_path):
    made = JobFolder(tmp_path / "jobs")
    made.create(["0"])
    return made


def test_each_chunk_is_claimed_once_however_many_want_it(folder):
    for order in range(50):
        folder.add_chunk("0", order, CELLS[2 * order : 2 * order + 2])

    def work(life):
        taken = []
        while (claim := folder.claim("0", life)) is not None:
            taken += claim.cells
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [cell for cells in pool.map(work, map(str, range(8))) for cell in cells]
    assert sorted(taken) == CELLS


def test_what_is_left_of_a_claim_goes_back_to_its_place(folder):
    folder.add_chunk("0", 2, CELLS[10:])
    folder.add_chunk("0", 1, CELLS[:10])
    claim = folder.claim("0", "7_0.0.0")
    assert claim.cells == CELLS[:10]
    folder.give_back(claim, CELLS[4:10])
    assert list(folder.claims("0")) == []
    assert [cells_of(path) for path in folder.chunks("0")] == [CELLS[4:10], CELLS[10:]]


def test_a_record_that_was_cut_short_is_not_read(folder):
    writer = RecordWriter(folder.records, "7_0.0")
    writer.add(b"a", b"first")
    path = folder.records / writer.name
    whole = path.read_bytes()
    writer.add(b"a", b"second")
    both = path.read_bytes()
    for end in range(len(whole), len(both)):
        path.write_bytes(both[:end])
        reader = RecordReader(path)
        assert [record.data for record in reader.read()] == [b"first"]
        path.write_bytes(both)
        assert [record.data for record in reader.read()] == [b"second"]
    path.write_bytes(both[:-1] + b"?")
    assert [record.data for record in RecordReader(path).read()] == [b"first"]


def test_a_second_life_of_a_task_has_a_file_of_its_own(folder):
    assert RecordWriter(folder.records, "7_0.0").name != RecordWriter(folder.records, "7_0.0").name


def test_chunks_hold_every_cell_once_and_become_small():
    chunks = chunked(CELLS, 4)
    assert [cell for chunk in chunks for cell in chunk] == CELLS
    assert [len(chunk) for chunk in chunks] == sorted((len(chunk) for chunk in chunks), reverse=True)
    assert len(chunks[0]) == 6
    assert len(chunks[-1]) == 1


def test_options_of_sbatch_are_written_as_sbatch_reads_them():
    options = {"partition": "long", "cpus_per_task": 4, "exclusive": True, "mem": None, "contiguous": False, "p": "x"}
    assert checked_options(options, what="sbatch") == ("--partition=long", "--cpus-per-task=4", "--exclusive", "-px")


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"sbatch": {"array": "0-3"}}, ValidationError, "sets 'array' itself"),
        ({"sbatch": {"job_name": "mine"}}, ValidationError, "sets 'job_name' itself"),
        ({"sbatch": {"mem; rm": "1"}}, ValidationError, "cannot be the name of an option"),
        ({"sbatch": {"mem": ["1G"]}}, ArgumentTypeError, "takes texts, numbers and True"),
        ({"sbatch": "--mem=1G"}, ArgumentTypeError, "options of sbatch by name"),
        ({"condition_sbatch": {"big": "gpu"}}, ArgumentTypeError, r"condition_sbatch\['big'\]"),
        ({"setup": "module load cuda"}, ArgumentTypeError, "setup takes several texts"),
        ({"ship": ["../secret"]}, ValidationError, "inside the working folder"),
        ({"jobs": 0}, ValidationError, "jobs"),
        ({"on_interrupt": "stay"}, ValidationError, "on_interrupt"),
        ({"python": 3}, ArgumentTypeError, "python"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SlurmExecution(**settings)

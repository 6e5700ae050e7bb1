"""Names and folders: whatever the names, nothing leaves the root, and no two things share a place."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import ValidationError
from crystallize.hooks import Cell
from crystallize_plugins.artifacts.files import layout

names = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *("..", ".", "", "/", "a/../../b", "..\\x", "C:\\x", "C:x", "con", "nul.txt", "a\0b", "x" * 300, "é" * 120),
            *("results.json", "Results.JSON", "run.json", "run.db", "run.db-wal", "replicate_0", "REPLICATE_1"),
            *("%72un.json", "%72esults.json", "%part-1-2"),
        ]
    ),
)


def mapped(function, *arguments):
    """Give what a map of names gives, or None where it refuses a name."""
    try:
        return function(*arguments)
    except ValidationError:
        return None


@given(names)
def test_an_experiment_lies_directly_below_the_root_whatever_its_name(name):
    root = Path("/somewhere/data")
    folder = mapped(layout.experiment_folder, root, name)
    assert folder is None or (folder.parent == root and os.path.normpath(folder) == str(folder))


@given(names, names, names, st.integers(0, 10**9))
def test_an_artifact_lies_four_levels_below_its_run_whatever_the_names(condition, step, name, replicate):
    location = mapped(layout.artifact_location, Cell(condition, replicate), step, name)
    if location is not None:
        inside = os.path.normpath(f"/run/{location}")
        assert inside == f"/run/{location}"
        assert location.count("/") == 3
        assert len(PureWindowsPath(location).parts) == 4
        assert not PureWindowsPath(location).drive


@given(st.lists(names, unique=True, max_size=8))
def test_two_names_never_share_a_place(several):
    folders = [mapped(layout.condition_folder, name) for name in several]
    locations = [mapped(layout.artifact_location, Cell("baseline", 0), "FitStep", name) for name in several]
    for places in (folders, locations):
        taken = [place for place in places if place is not None]
        assert len(set(taken)) == len(taken)


@given(names)
def test_no_condition_takes_the_place_of_the_runs_own_files(name):
    folder = mapped(layout.condition_folder, name)
    if folder is not None:
        own = ("run.json", "run.db", "run.db-wal", "run.db-shm", "run.db-journal", "results.json", "replicate_0")
        assert folder.casefold() not in own


@given(names)
def test_no_artifact_is_called_results_json(name):
    location = mapped(layout.artifact_location, Cell("baseline", 0), "FitStep", name)
    assert location is None or not location.casefold().endswith("/results.json")


@given(names)
def test_no_artifact_takes_the_place_of_a_file_that_is_being_written(name):
    location = mapped(layout.artifact_location, Cell("baseline", 0), "FitStep", name)
    assert location is None or not layout.is_temporary(location.rpartition("/")[2])


def test_ordinary_names_are_their_own_folders():
    assert layout.experiment_folder("data", "my experiment").name == "my experiment"
    assert layout.artifact_location(Cell("lr=0.1", 2), "FitStep", "model.bin") == "replicate_2/lr=0.1/FitStep/model.bin"


def test_the_first_version_is_0_and_the_next_one_is_above_all():
    folder = Path("exp")
    assert layout.take_version(folder).number == 0
    (folder / "v7").mkdir()
    (folder / "v12").write_text("a file, and no run")
    (folder / "notes").mkdir()
    (folder / "v08").mkdir()
    assert layout.take_version(folder) == (8, folder / "v8")
    assert [version.number for version in layout.versions(folder)] == [0, 7, 8]


def test_versions_are_ordered_by_number():
    folder = Path("exp")
    for number in (10, 9, 100, 2):
        (folder / f"v{number}").mkdir(parents=True)
    assert [version.path.name for version in layout.versions(folder)] == ["v2", "v9", "v10", "v100"]


def test_no_folder_has_no_versions():
    assert layout.versions(Path("nowhere")) == []


def test_a_relative_root_is_meant_from_where_the_run_starts(tmp_path):
    assert layout.experiment_folder("data", "exp") == tmp_path / "data" / "exp"


def test_a_name_that_leaves_the_root_is_refused():
    with pytest.raises(ValidationError, match="path separator"):
        layout.experiment_folder("data", "../exp")


def test_temporary_names_are_never_given_twice():
    assert len({layout.temporary_name() for _ in range(100)}) == 100

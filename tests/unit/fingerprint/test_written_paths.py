"""A path to which code only writes is no part of what the code goes by; one that it may read is, with its content."""

from __future__ import annotations

import pytest

from crystallize.fingerprint import value_of


def appends(path):
    def step(text):
        with path.open("a") as file:
            file.write(text)

    return step


def opens_by_name(path):
    def step(text):
        with open(path, mode="w", encoding="utf-8") as file:  # noqa: PTH123 - one of the ways to write
            file.write(text)

    return step


def fills_a_folder(path):
    def step(text):
        path.parent.joinpath("made").mkdir(exist_ok=True)
        (path.parent / "made" / "deep.txt").write_text(text)
        path.with_suffix(".bin").write_bytes(text.encode())
        path.write_text(text)

    return step


def reads(path):
    return lambda text: path.read_text() if text else path.write_text(text)


def reads_and_writes(path):
    def step(text):
        with path.open("r+") as file:
            file.write(text)

    return step


def asks_whether_it_is_there(path):
    def step(text):
        if not path.exists():
            path.write_text(text)

    return step


def hands_it_on(path):
    def step(text):
        path.touch()
        return print(path, text)

    return step


def says_the_mode_elsewhere(path, mode="a"):
    def step(text):
        with path.open(mode) as file:
            file.write(text)

    return step


@pytest.mark.parametrize("make", [appends, opens_by_name, fills_a_folder])
def test_what_code_only_writes_does_not_count_and_where_it_writes_does(make, tmp_path):
    step = make(tmp_path / "out.txt")
    before = value_of(step)
    step("something")
    assert (tmp_path / "out.txt").exists()
    assert value_of(step) == before
    assert value_of(make(tmp_path / "elsewhere.txt")) != before


@pytest.mark.parametrize(
    "make", [reads, reads_and_writes, asks_whether_it_is_there, hands_it_on, says_the_mode_elsewhere]
)
def test_what_code_may_read_counts(make, tmp_path):
    step = make(tmp_path / "data.txt")
    (tmp_path / "data.txt").write_text("one")
    before = value_of(step)
    (tmp_path / "data.txt").write_text("another")
    assert value_of(step) != before

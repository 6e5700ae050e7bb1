"""The artifacts log: files that the steps of one cell write."""

from __future__ import annotations

import pytest

from crystallize import standalone_context
from crystallize.context.records import ArtifactLog
from crystallize.errors import ArgumentTypeError, ValidationError


@pytest.mark.parametrize(
    "data", [b"ab", bytearray(b"ab"), memoryview(b"ab"), "ab"], ids=lambda data: type(data).__name__
)
def test_bytes_and_text_are_written_as_bytes(data):
    log = ArtifactLog()
    log.add("out.bin", data)
    (written,) = log.written()
    assert (written.name, written.data, type(written.data)) == ("out.bin", b"ab", bytes)


def test_a_step_that_is_tried_alone_shows_what_it_wrote():
    ctx = standalone_context()
    ctx.artifacts.add("a.txt", "one")
    ctx.artifacts.add("b.bin", b"two")
    assert [(file.name, file.data) for file in ctx.artifacts] == [("a.txt", b"one"), ("b.bin", b"two")]
    assert len(ctx.artifacts) == 2
    assert repr(ctx.artifacts) == "ArtifactLog(['a.txt', 'b.bin'])"


def test_text_is_written_as_utf_8():
    ctx = standalone_context()
    ctx.artifacts.add("note.txt", "größer")
    assert ctx.artifacts.written()[0].data == "größer".encode()


def test_what_is_written_is_the_content_of_now():
    log, buffer = ArtifactLog(), bytearray(b"one")
    log.add("out.bin", buffer)
    buffer[:] = b"two"
    assert log.written()[0].data == b"one"


@pytest.mark.parametrize("data", [{"a": 1}, 5, None, [1]])
def test_anything_else_is_refused_and_told_what_to_do(data):
    with pytest.raises(ArgumentTypeError, match=r"'out.json' must be bytes or text.*encode it first"):
        ArtifactLog().add("out.json", data)


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/b", "../a", "a\\b", "/etc/passwd", "nul\0", "line\nbreak", "a" * 300, " a", "a."]
)
def test_a_name_that_could_leave_the_folder_or_not_be_written_is_refused(name):
    with pytest.raises(ValidationError):
        ArtifactLog().add(name, b"")


@pytest.mark.parametrize("name", [5, None, b"a"])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(ArgumentTypeError):
        ArtifactLog().add(name, b"")


def test_a_step_that_writes_a_name_again_replaces_what_it_wrote():
    log = ArtifactLog()
    log.add("a", b"1")
    log.add("b", b"2")
    log.add("a", b"3")
    assert [(written.name, written.data) for written in log.written()] == [("a", b"3"), ("b", b"2")]
    assert len(log) == 2


def test_two_steps_may_write_one_name():
    log = ArtifactLog()
    log.position = 1
    log.add("a", b"first")
    log.position = 2
    log.add("a", b"second")
    assert [(written.position, written.data) for written in log.written()] == [(1, b"first"), (2, b"second")]

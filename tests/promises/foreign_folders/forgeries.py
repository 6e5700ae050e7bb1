"""Every way in which a folder can be other than a run: made systematically, each by changing a run that is sound."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing

from crystallize_plugins.artifacts.database.schema import COLUMNS

HUGE = 3 * 1024**3
"""Bytes of a file that takes up no room on the disk."""

FILES = (
    "run.db", "run.db-wal", "run.db-shm", "run.db-journal", "run.json", "baseline/results.json", "more/results.json",
    "replicate_0/baseline/WorkStep/model.bin",
)  # fmt: skip
FOLDERS = ("baseline", "replicate_0", "replicate_0/baseline", "replicate_0/baseline/WorkStep")


def _cleared(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def link(path, outside):
    """Put a link there to what lies outside: the same content, where somebody else needs it."""
    target = outside / path.name
    if path.is_dir():
        shutil.copytree(path, target)
    elif path.exists():
        shutil.copy(path, target)
    else:
        target.write_bytes(b"precious")
    _cleared(path)
    path.symlink_to(target)


def dangling(path, outside):
    _cleared(path)
    path.symlink_to(outside / "to be made")


def loop(path, outside):
    _cleared(path)
    path.symlink_to(path)


def pipe(path, outside):
    _cleared(path)
    os.mkfifo(path)


def device(path, outside):
    _cleared(path)
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # zeros without an end
    except PermissionError:
        path.symlink_to("/dev/zero")


def folder(path, outside):
    _cleared(path)
    path.mkdir()


def huge(path, outside):
    with path.open("ab") as file:
        file.truncate(HUGE)


def garbage(path, outside):
    path.write_bytes(b"\x00\xff garbage" * 400)


def empty(path, outside):
    path.write_bytes(b"")


def nested(path, outside):
    path.write_text("[" * 200_000)


def unreadable(path, outside):
    path.touch()
    path.chmod(0)


def absurd(path, outside):
    path.write_text('{"id": [], "started": 1e999, "owner": {"host": 5, "pid": "../..", "process": ":"}, "database": 5}')


IN_PLACE_OF_FILES = (link, dangling, loop, pipe, device, folder, huge, garbage, empty, nested, unreadable, absurd)
IN_PLACE_OF_FOLDERS = (link, dangling, loop, pipe)

# What JSON could hold that no run has.
VALUES = {
    "none": "null", "number": "5", "text": '"text"', "list": "[[]]", "mapping": '{"a": {"b": 1}}',
    "deep": "[" * 5000 + "]" * 5000,
    "unknown": '{"$": "posix.system", "value": "touch PWNED"}',
    "array": '{"$": "array", "dtype": "<f8", "shape": [1000000000000], "order": "C", "base64": ""}',
    "empty items": '{"$": "array", "dtype": "|V0", "shape": [1000000000000], "order": "C", "base64": ""}',
    "objects": '{"$": "array", "dtype": "|O", "shape": [1], "order": "C", "base64": "AAAAAAAAAAA="}',
    "void": '{"$": "numpy", "dtype": "|V8", "value": 100000000000}',
    "fraction": '{"$": "fraction", "parts": ["1e1000000000"]}',
    "zone": '{"$": "zone", "value": "../../../../etc/passwd"}',
    "not closed": '{"a": ',
}  # fmt: skip
# Columns of the tables that hold such values.
DOCUMENTS = (
    "cells", "conditions", "facts", "errors", "failures", "hypotheses", "treatments", "plugins", "environment",
    "command", "definition", "code", "data", "git", "packages", "libraries",
)  # fmt: skip
COLUMNS_OF_VALUES = (
    ("condition", "steps"), ("condition", "parts"), ("parameter", "value"), ("identity", "parts"), ("trace", "steps"),
    ("trace", "metrics"), ("cell", "record"), ("cell", "more"),
)  # fmt: skip

SCHEMAS = {
    "a view in place of a table": "DROP TABLE document; CREATE VIEW document AS "
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT 'a' AS name, x AS body, 0 AS seal FROM n",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON session BEGIN DELETE FROM cell; END",
    "an index by an expression": "CREATE INDEX i ON cell(hex(zeroblob(1000000)))",
    "a virtual table": "DROP TABLE artifact; CREATE VIRTUAL TABLE artifact USING fts4(condition, replicate)",
    "a table without columns that count": "DROP TABLE cell; CREATE TABLE cell (a)",
    "a generated column": "ALTER TABLE session ADD COLUMN g AS (hex(zeroblob(1000000000)))",
    "a table too many": "CREATE TABLE other (a)",
    "no tables": "".join(f"DROP TABLE {table};" for table in COLUMNS),
}
NUMBERS = {
    ("run", "replicates"): (-1, 10**18, "text"), ("run", "started"): (1e300, -1.0, "text"),
    ("run", "id"): (5, b"bytes"), ("run", "experiment"): (5, "../../other"), ("run", "kind"): ("other", 5),
    ("run", "seed"): ("9" * 5000, "text", 5.5), ("session", "pid"): (-1, 2**62, "../../.."),
    ("session", "process"): ("", ":", 5), ("session", "started"): (1e300, "text"),
    ("session", "ended"): (1e300, "text", None),
    ("session", "stopped_by"): (5, "\x00"), ("condition", "name"): ("../../other", "", 5),
    ("cell", "replicate"): (-5, 2**62), ("cell", "condition"): ("unknown", "../.."),
    ("cell", "state"): ("unknown",), ("cell", "trace"): (10**6,), ("cell", "duration"): (1e308,),
    ("cell", "worker"): (5,), ("artifact", "path"): ("../../../outside/precious", "/etc/passwd", "run.db", "a\x00b"),
    ("artifact", "size"): (-1, 2**62, "text"), ("artifact", "sha256"): (5, ""), ("artifact", "name"): ("../x",),
}  # fmt: skip


ENTRIES = ("id", "started", "duration", "owner", "place", "conditions", "database", "replicates", "stopped_by")
WRONG = (None, 5, -1e300, "text", [1], {"a": 1})


def _document(name, value):
    def forge_document(run, outside, forge):
        forge(run, "document", lambda row: {**row, "body": value} if row["name"].partition("@")[0] == name else row)

    return forge_document


def _column(table, column, value):
    def forge_column(run, outside, forge):
        forge(run, table, lambda row: {**row, column: value})

    return forge_column


def _schema(script):
    def forge_schema(run, outside, forge):
        with closing(sqlite3.connect(run / "run.db")) as database:
            database.executescript(script)

    return forge_schema


def _journal_of_several(run, outside, forge):
    """A commit that was cut short, of several databases: SQLite removes the file that is named as their list."""
    target = outside / "precious"
    name = os.fsencode(target)
    checksum = sum(byte - 256 if byte > 127 else byte for byte in name) & 0xFFFFFFFF
    head = bytes.fromhex("d9d505f920a163d7") + (0).to_bytes(4, "big") + (7).to_bytes(4, "big") + (1).to_bytes(4, "big")
    head += (512).to_bytes(4, "big") + (4096).to_bytes(4, "big")
    tail = name + len(name).to_bytes(4, "big") + checksum.to_bytes(4, "big") + bytes.fromhex("d9d505f920a163d7")
    (run / "run.db-journal").write_bytes(head.ljust(512, b"\0") + (0xFFFFFFFF).to_bytes(4, "big") + tail)


def _in_file(entry, value):
    def forge_entry(run, outside, forge):
        told = json.loads((run / "run.json").read_text())
        told[entry] = value
        (run / "run.json").write_text(json.dumps(told))

    return forge_entry


def _at(place, change):
    def forge_place(run, outside, forge):
        change(run / place, outside)

    return forge_place


def forgeries():
    """Return the forgeries by name: each is given the run's folder, a folder outside, and `forge`."""
    return {
        **{f"{place}: {each.__name__}": _at(place, each) for place in FILES for each in IN_PLACE_OF_FILES},
        **{f"{place}: {each.__name__}": _at(place, each) for place in FOLDERS for each in IN_PLACE_OF_FOLDERS},
        **{f"document {name}: {what}": _document(name, value) for name in DOCUMENTS for what, value in VALUES.items()},
        **{
            f"{table}.{column}: {what}": _column(table, column, value)
            for table, column in COLUMNS_OF_VALUES
            for what, value in VALUES.items()
        },
        **{
            f"{table}.{column}: {value!r:.30}": _column(table, column, value)
            for (table, column), values in NUMBERS.items()
            for value in values
        },
        **{what: _schema(script) for what, script in SCHEMAS.items()},
        "a journal of several databases": _journal_of_several,
        **{f"run.json {name}: {value!r}": _in_file(name, value) for name in ENTRIES for value in WRONG},
    }

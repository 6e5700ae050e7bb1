"""What the benchmarks share: processes to measure in, interleaved rounds, one table.

A benchmark is a script with a function `measure(bench)` that gives rows, and ends with
`common.main(__doc__, measure)`. Its options: `--json [FILE]`, `--rounds N`, `--no-peer`.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEER = "crystallize-ml==0.27.0"
PEER_NEEDS = ["numpy"]  # not among its dependencies, and some rows are about arrays


class CaseError(Exception):
    """A case could not be run on a side."""


@dataclass
class Row:
    """One line of the table. Figures are in `unit`; None stands for what was not measured."""

    what: str
    unit: str
    bare: float | None = None
    ours: float | None = None
    peer: float | None = None
    target: float | None = None
    note: str = ""

    @property
    def verdict(self):
        if self.target is None or self.ours is None:
            return ""
        return "met" if self.ours <= self.target else "MISSED"

    @classmethod
    def from_json(cls, found):
        """Read what `as_json` gave."""
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    def as_json(self):
        """Give the row with its ratios."""
        ratios = {"ours_over_bare": _ratio(self.ours, self.bare), "peer_over_ours": _ratio(self.peer, self.ours)}
        return {**asdict(self), **ratios, "verdict": self.verdict}


class Side:
    """A process that runs a file of cases, by default `workload.py`, under one interpreter."""

    def __init__(self, name, python, script="workload.py"):
        self.name = name
        self.python = str(python)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._log = (Path(self._folder.name) / "stderr").open("w")
        self._process = subprocess.Popen(
            [self.python, "-W", "ignore", str(HERE / script)],
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, case, **arguments):
        """Run a case there and give what it measured."""
        self._process.stdin.write(json.dumps({"case": case, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise CaseError(f"{self.name}: the process ended while it ran {case}")
        answer = json.loads(line)
        if "error" in answer:
            raise CaseError(f"{self.name}: {case}: {answer['error']}")
        return answer["value"]

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()


class Bench:
    """The sides to compare, and how often.

    `bare` and `ours` are always there; `peer` is None where it cannot be installed.
    """

    def __init__(self, rounds, *, with_peer=True):
        self.rounds = rounds
        self.pace = []
        self.bare = Side("bare Python", sys.executable)
        self.ours = Side("crystallize", sys.executable)
        python = peer_python() if with_peer else None
        self.peer = Side(PEER, python) if python else None

    def pace_row(self):
        """Say how fast the machine was meanwhile: the figures in units of time go with it."""
        if not self.pace:
            self.pace.append(self.bare.ask("pace"))
        found = _reduced(statistics.median, self.pace)
        return Row(
            "(the machine meanwhile: a bare call)",
            "ns",
            found["call"] * 1e9,
            note=f"a sync: {found['sync'] * 1e3:.2f} ms",
        )

    def close(self):
        for side in (self.bare, self.ours, self.peer):
            if side is not None:
                side.close()

    def medians(self, questions, rounds=None):
        """Ask every question once a round, and give the median answer of each.

        `questions` maps a name to (side, case, arguments). A side that is None, and a question that
        fails, give None. An answer of several figures gives a median for each.
        """
        answers = self._ask(questions, rounds or self.rounds)
        return {name: _reduced(statistics.median, found) for name, found in answers.items()}

    def least(self, questions):
        """As `medians`, with the least answer: other work on the machine only ever adds to a sum of small costs."""
        answers = self._ask(questions, self.rounds)
        return {name: _reduced(min, found) for name, found in answers.items()}

    def _ask(self, questions, rounds):
        answers = {name: [] for name in questions}
        failed = set()
        for _ in range(rounds):
            self.pace.append(self.bare.ask("pace"))
            for name, (side, case, arguments) in questions.items():
                if side is None or name in failed:
                    continue
                try:
                    answers[name].append(side.ask(case, **arguments))
                except CaseError as exc:
                    failed.add(name)
                    say(f"  {exc}")
        return {name: [] if name in failed else found for name, found in answers.items()}


def peer_python():
    """Give the interpreter of the peer's environment, made where there is none; None where that fails.

    CRYSTALLIZE_BENCH_PEER names another environment to use.
    """
    named = os.environ.get("CRYSTALLIZE_BENCH_PEER")
    folder = Path(named) if named else ROOT / ".venvs" / "peer"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / ".ready"
    if not named and not ready.exists():
        say(f"making an environment for {PEER} in {folder} ...")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER, *PEER_NEEDS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                say(f"{PEER} cannot be installed here, so its column stays empty: {done.stderr.strip()[-300:]}")
                return None
        ready.touch()
    return python


def say(text):
    """Tell of progress, beside the table and the JSON."""
    print(text, file=sys.stderr, flush=True)


def show(rows):
    """Print the table."""
    header = ("what", "unit", "bare", "ours", "peer", "peer : ours", "at most", "")
    lines = [header]
    for row in rows:
        ratio = _ratio(row.peer, row.ours)
        lines.append(
            (
                row.what,
                row.unit,
                _figure(row.bare),
                _figure(row.ours),
                _figure(row.peer),
                "" if ratio is None else f"{ratio:.3g}",
                _figure(row.target),
                f"{row.verdict} {row.note}".strip(),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        cells = [
            text.ljust(width) if column < 2 or column == 7 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def main(description, measure):
    """Run one benchmark as a script."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write rows as JSON, by default to stdout")
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured (default: 7)")
    parser.add_argument("--no-peer", action="store_true", help=f"do not measure {PEER}")
    options = parser.parse_args()
    keep_bytecode()
    bench = Bench(options.rounds, with_peer=not options.no_peer)
    try:
        rows = [*measure(bench), bench.pace_row()]
    finally:
        bench.close()
    give(rows, options.json)


def keep_bytecode():
    """Have programs find modules compiled, as where they are installed, whatever this shell is set to."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("crystallize", "crystallize_plugins", "crystallize_cli"):
        for folder in importlib.util.find_spec(name).submodule_search_locations:
            compileall.compile_dir(folder, quiet=1)


def give(rows, target):
    """Print rows as a table, or write them as JSON where `target` says so."""
    if target is None:
        show(rows)
        return
    text = json.dumps([row.as_json() for row in rows], indent=2)
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text + "\n", encoding="utf-8")


def scaled(value, factor, base=0.0):
    """Give (value - base) * factor, or None where there is no value."""
    return None if value is None or base is None else (value - base) * factor


def _reduced(reduce, found):
    if not found:
        return None
    if isinstance(found[0], dict):
        return {key: reduce(each[key] for each in found) for key in found[0]}
    return reduce(found)


def _ratio(above, below):
    return above / below if above is not None and below is not None and below > 0 else None


def _figure(value):
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"

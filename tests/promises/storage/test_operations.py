"""A run that dies, or finds the disk full, at any operation of its store: nothing is lost, and resuming is exact.

A program forks for every case: once to run and be ended at one operation, once more to look and to resume.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied as they are"),
]

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
PARTS = 1 if SOAK else 24
"""Of so many operations, one is tried in the suite, and every one in the soak."""

PROGRAM = r"""
    import contextlib, errno, hashlib, importlib, json, logging, os, shutil, signal, sqlite3, sys, traceback
    from pathlib import Path

    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
    from crystallize.errors import StoreError
    from crystallize_plugins.artifacts import StoredRun, list_runs, open_run, operations
    from crystallize_plugins.runs import verify

    logging.disable()
    RAN = []

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, delta=0):
        RAN.append((ctx["condition"], data))
        ctx.record("value", data * 1000 + delta)
        ctx.record("noise", float(ctx.rng.normal()))
        ctx.artifacts.add("part.bin", bytes([data % 251]) * (delta + 1) * 100)
        return data

    def experiment(delta=5, replicates=3):
        return Experiment(
            source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()],
            name="exp", treatments=[Treatment("t", {"delta": delta})], replicates=replicates,
        )

    # -- operations that fail -------------------------------------------------------------------------

    NEEDS_ROOM = {"open_new", "write", "sync", "replace", "link", "make_folder", "execute", "execute_many", "commit"}

    class Fault:
        # Counts operations, and does something at one of them.

        def __init__(self, number, what):
            self.number, self.what, self.count, self.names = number, what, 0, []
            for name in operations.__all__:
                setattr(operations, name, self.wrapped(name, getattr(operations, name)))

        def wrapped(self, name, real):
            def call(*arguments, **settings):
                if self.what == "full" and name not in NEEDS_ROOM:
                    return real(*arguments, **settings)
                number, self.count = self.count, self.count + 1
                self.names.append(name)
                if self.what == "full" and number >= self.number:
                    if name in ("execute", "execute_many", "commit"):
                        raise sqlite3.OperationalError("database or disk is full")
                    where = arguments[-1] if isinstance(arguments[-1], (str, os.PathLike)) else None
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where and os.fspath(where))
                if number == self.number:
                    if self.what == "half" and name == "write":
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    if self.what in ("kill", "half"):
                        os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **settings)
            return call

    # -- cases ------------------------------------------------------------------------------------------

    def forked(function, *arguments):
        # Call a function in a process of its own; give what it returned, or the signal that ended it.
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            try:
                answer = {"value": function(*arguments)}
            except BaseException:
                answer = {"error": traceback.format_exc()}
            with open(writer, "w") as out:
                json.dump(answer, out)
            os._exit(0)
        os.close(writer)
        with open(reader) as text:
            said = text.read()
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        answer = json.loads(said)
        if "error" in answer:
            sys.exit(f"{function.__name__}{arguments}:\n{answer['error']}")
        return answer["value"]

    def shown_cells():
        path = Path("shown")
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def run(number, what, kind):
        # Run, and write down what is shown; give what was raised and the operations.
        fault = Fault(number, what)
        out = os.open("shown", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        built, strategy = KINDS[kind][1:]
        try:
            for outcome in built().stream(strategy=strategy):
                os.write(out, json.dumps([*outcome.cell, outcome.metrics["value"][0]]).encode() + b"\n")
        except StoreError as error:
            return [str(error), str(error.path), fault.names]
        return [None, None, fault.names]

    def digest(result):
        metrics = {"baseline": result.metrics.baseline.metrics}
        metrics.update((name, condition.metrics) for name, condition in result.metrics.treatments.items())
        files = [
            (entry["condition"], entry["replicate"], entry["sha256"], Path(entry["path"]).read_bytes().hex())
            for entry in result.provenance["artifacts"]
        ]
        values = {name: {m: [list(map(float.hex, map(float, v))), v.replicates] for m, v in found.items()}
                  for name, found in metrics.items()}
        everything = [values, sorted(files), result.provenance["seeds"], sorted(result.errors)]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    def strict(path):
        def refuse(token):
            raise ValueError(token)
        json.loads(path.read_text(), parse_constant=refuse)

    def look(ended):
        # Check what was left behind.
        stored = set()
        for stored_run in list_runs():
            status = stored_run.status
            assert status in (("interrupted", "complete") if ended else ("complete",)), status
            for outcome in stored_run.outcomes():
                delta = 0 if outcome.cell.condition == "baseline" else 5
                assert outcome.metrics["value"][0] % 1000 in (delta, 7), outcome
                stored.add((*outcome.cell, outcome.metrics["value"][0]))
                for record in outcome.artifacts:
                    assert hashlib.sha256(Path(record.path).read_bytes()).hexdigest() == record.sha256
            if stored_run.id:
                digest(open_run(stored_run.path))
        for path in Path("data").rglob("*.json"):
            strict(path)
        lost = set(shown_cells()) - stored
        assert not lost, f"shown and lost: {lost}"
        found = verify("data") if list_runs() else None
        # What a killed process had not finished is all that may be found.
        if found is not None:
            assert {finding.kind for finding in found.findings} <= {"left over", "unfinished"}, str(found)
        return len(stored)

    def resume(kind, expected):
        # Resume; give how many cells ran, and how many were there.
        before = list_runs()
        there = {(*outcome.cell, outcome.metrics["value"][0]) for each in before for outcome in each.outcomes()}
        RAN.clear()
        result = KINDS[kind][1]().run(strategy="resume")
        assert digest(result) == expected, "resumed results differ"
        newest = list_runs()[-1]
        assert newest.status == "complete", newest.status
        assert digest(open_run(newest.path)) == expected, "stored results differ"
        assert len(RAN) == len(set(RAN)), RAN
        ran_again = [cell for cell in RAN if any(cell == one[:2] for one in there) and kind != "next"]
        assert not ran_again, f"ran although it was stored: {ran_again}"
        # And once more: nothing is left to do.
        RAN.clear()
        assert digest(KINDS[kind][1]().run(strategy="resume")) == expected
        assert not RAN, RAN
        assert not {finding.kind for finding in verify("data").findings} - {"left over", "unfinished"}
        return len(there)

    def earlier(delta, replicates, number):
        # Leave a run behind that was killed at an operation, or that is complete.
        if number is not None:
            Fault(number, "kill")
        experiment(delta, replicates).run()

    KINDS = {
        "new": (None, lambda: experiment(), None),
        "on": ((5, 3, 45), lambda: experiment(), "resume"),
        "more": ((5, 2, None), lambda: experiment(), "resume"),
        "next": ((7, 3, None), lambda: experiment(), "resume"),
    }

    def fresh(kind):
        shutil.rmtree("data", ignore_errors=True)
        Path("shown").unlink(missing_ok=True)
        if KINDS[kind][0] is not None:
            forked(earlier, *KINDS[kind][0])

    def expected_digest():
        answer = digest(experiment().run())
        look(False)
        experiment().run(strategy="resume")
        return answer, [name for name in sys.modules if not name.startswith("__")]

    def main(kind, what, part, parts):
        shutil.rmtree("data", ignore_errors=True)
        expected, modules = forked(expected_digest)
        # What each case would import for itself otherwise.
        for name in modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        fresh(kind)
        names = forked(run, -1 if what != "full" else 10**9, what, kind)[2]
        numbers = [n for n, name in enumerate(names) if what != "half" or name == "write"]
        done = 0
        for number in numbers[part::parts]:
            fresh(kind)
            ended = forked(run, number, what, kind)
            if what == "full":
                message, path, reached = ended
                if message is None and len(reached) <= number:
                    continue  # groups differ a little from run to run: this time there were fewer operations
                # Once the disk is full, nothing can be shown as done that is not stored.
                assert message is not None, f"nobody noticed at operation {number}, {names[number]}"
                assert path.startswith(os.getcwd()) and path in message, (number, names[number], path, message)
                assert "full" in message or "No space" in message, message
            else:
                if ended != "signal 9":
                    # Groups differ a little from run to run: this time there were fewer operations.
                    assert number >= len(ended[2]), ended
                    continue
            forked(look, True)
            forked(resume, kind, expected)
            done += 1
        print(json.dumps({"operations": len(names), "cases": done, "names": sorted(set(names))}))

    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


@pytest.fixture
def campaign(tmp_path):
    """Run the program for one kind of run and one kind of fault; give what it counted."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))

    def start(kind, what, part=0, parts=1):
        done = subprocess.run(
            [sys.executable, str(script), kind, what, str(part), str(parts)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=3600 if SOAK else 600,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        return json.loads(done.stdout.splitlines()[-1])

    return start


@pytest.mark.parametrize("kind", ["new", "on", "more", "next"])
def test_a_run_killed_at_any_operation_loses_nothing_and_is_resumed_exactly(campaign, kind):
    counted = campaign(kind, "kill", parts=PARTS)
    assert counted["operations"] > 40
    assert counted["cases"] > 2
    assert {"write", "sync", "replace", "execute", "commit"} <= set(counted["names"])


@pytest.mark.parametrize("kind", ["new", "on", "more", "next"])
def test_a_run_killed_in_the_middle_of_any_write_loses_nothing_and_is_resumed_exactly(campaign, kind):
    assert campaign(kind, "half", parts=1 if SOAK else 4)["cases"] > 1


@pytest.mark.parametrize("kind", ["new", "on", "more", "next"])
def test_a_disk_that_is_full_at_any_operation_is_named_and_what_was_stored_is_exact_afterwards(campaign, kind):
    counted = campaign(kind, "full", parts=PARTS)
    assert counted["cases"] > 2

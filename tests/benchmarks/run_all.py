"""Every benchmark of this folder, one after the other, and one table of their rows.

Each is a process of its own: `bench_*.py --json`. Options are handed on to it. A target that is missed is
shown and fails nothing: the machine may be busy, and what must not regress is held by `test_gates.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import common


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="benchmarks to run, such as steps or arrays (default: all)")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write rows as JSON, by default to stdout")
    options, handed_on = parser.parse_known_args()
    scripts = sorted(common.HERE.glob("bench_*.py"))
    if options.names:
        scripts = [script for script in scripts if script.stem.removeprefix("bench_") in options.names]
    # Before the first one, so that no benchmark's time includes it.
    if "--no-peer" not in handed_on:
        common.peer_python()
    rows, failed = [], []
    for script in scripts:
        common.say(f"{script.stem} ...")
        command = [sys.executable, str(script), "--json", *handed_on]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed.append(script.name)
        else:
            rows += [common.Row.from_json(found) for found in json.loads(done.stdout)]
    common.give(rows, options.json)
    for name in failed:
        common.say(f"{name} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

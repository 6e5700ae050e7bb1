"""Run tests with other releases of the libraries than the known-good ones, and name those that break them.

    .venvs/newest/bin/python .ci/libraries.py TEST...

runs the tests in the environment of the interpreter that runs this. Where some fail, each library whose release
differs from `.ci/constraints.txt` is put back to the known-good release, alone, and the failed tests run again: those
that pass then, this library broke. Exits with 1 where a test failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
ENVIRONMENT = Path(sys.prefix).name


def known_good() -> dict[str, str]:
    """Return the known-good release of each library for this interpreter."""
    lines = (HERE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(each.name): next(iter(each.specifier)).version
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def installed() -> dict[str, str]:
    """Return the releases that are installed here."""
    return {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}


def failures(tests: list[str]) -> list[str]:
    """Run tests, showing their output, and return the names of those that failed."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={cache}", *tests]
        code = subprocess.run(command, check=False).returncode  # noqa: S603 - pytest, with what this was called with
        noted = Path(cache, "v", "cache", "lastfailed")
        failed = list(json.loads(noted.read_text(encoding="utf-8"))) if noted.exists() else []
    if code not in (0, 1) or (code == 1 and not failed):
        sys.exit(code)
    return failed


def install(*requirements: str) -> None:
    """Install releases, and nothing that they need."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, *requirements], check=True)  # noqa: S603 - pip, with names and versions from our own file


def main(tests: list[str]) -> int:
    """Run the tests, and look for the libraries that broke them."""
    good, here = known_good(), installed()
    other = {name: (here[name], good[name]) for name in sorted(good) if name in here and here[name] != good[name]}
    listed = ", ".join(f"{name} {now}" for name, (now, _) in other.items()) or "none"
    print(f"{ENVIRONMENT}: releases that differ from the known-good ones: {listed}", flush=True)
    failed = failures(tests)
    if not failed:
        return 0
    broke = []
    for name, (now, then) in other.items():
        print(f"{ENVIRONMENT}: the failed tests with {name} {then} instead of {now}", flush=True)
        install(f"{name}=={then}")
        mended = len(failed) - len(failures(failed))
        if mended:
            broke.append(f"{name} {now} breaks {mended} (known to be good: {then})")
        install(f"{name}=={now}")
    print(
        f"{ENVIRONMENT}: of {len(failed)} failed tests, {'; '.join(broke) or 'no single library breaks any'}",
        flush=True,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

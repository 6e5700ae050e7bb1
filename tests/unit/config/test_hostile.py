"""Files that want to do harm: refused at once, at no more than what they weigh."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIMIT_SECONDS = 0.5
LIMIT_BYTES = 50 * 2**20


def aliases(levels=9, width=9):
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels=9, width=9):
    lines = ["treatments:", f"  a0: &a0 {{{', '.join(f'k{n}: 1' for n in range(width))}}}"]
    lines += [f"  a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * width)}]}}" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def nested_merges(levels=30):
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


FILES = {
    "a bomb of aliases": (aliases(), "more than 10000 values"),
    "a bomb of merge keys": (merges(), "more than 10000 values"),
    "a bomb of merge keys, two and two": (nested_merges(), "more than 10000 values"),
    "a bomb as a key": (aliases() + "? *a8\n: 1\n", "more than 10000 values"),
    "brackets without end": ("a: " + "[" * 100_000, "50 levels deep"),
    "braces without end": ("{a: " * 50_000, "50 levels deep"),
    "dashes without end": ("- " * 100_000, "50 levels deep"),
    "question marks without end": ("? " * 100_000, "expected"),
    "an indentation without end": ("\n".join(" " * n + "a:" for n in range(1000)), "50 levels deep"),
    "a huge file": ("description: " + "x" * (2 << 20), "larger than 1 MiB"),
    "a hundred thousand values": ("steps: [" + "a, " * 100_000 + "b]", "more than 10000 values"),
    "a hundred thousand keys": ("\n".join(f"k{n}: 1" for n in range(60_000)), "more than 10000 values"),
    "one key twice, often": ("a: 1\n" * 20_000, "is there twice"),
    "four thousand unknown keys": ("\n".join(f"k{n}: 1" for n in range(4_500)), "100 problems, and maybe more"),
    "nine thousand unknown steps": ("datasource: {a: b}\nsteps: [" + "a, " * 9_500 + "b]", "100 problems"),
    "nine thousand wrong steps": ("datasource: {a: b}\nsteps: [" + "1, " * 9_500 + "2]", "100 problems"),
    "nine thousand words in doubt": ("treatments: {a: {x: [" + "no, " * 9_000 + "no]}}", "100 problems"),
    "an anchor in itself": ("a: &a [*a, *a]\n", "stands inside"),
    "a tag that runs code": ("a: !!python/object/apply:os.system ['touch harmed']\n", "is refused"),
    "a tag that makes an object": ("a: !!python/object/new:type [x, !!python/tuple [], {}]\n", "is refused"),
    "a tag that imports": ("a: !!python/module:antigravity ''\n", "is refused"),
    "a tag by its full name": ("a: !<tag:yaml.org,2002:python/name:os.system> ''\n", "is refused"),
    "a tag by a prefix": ("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.system ''\n", "is refused"),
    "a number of a million digits": ("seed: " + "9" * 1_000_000 + "\n", "seed must be"),
    "a value of a million digits": ("treatments: {a: {x: " + "9" * 1_000_000 + "}}\n", "cannot be read"),
    "a key of a million letters": ("k" * 1_000_000 + ": 1\n", "is no YAML"),
    "a megabyte of spaces": (" " * 1_000_000, "must be a mapping"),
    "a megabyte of comments": ("#\n" * 500_000, "must be a mapping"),
    "nothing but zeros": ("\0" * 1_000_000, "cannot stand in YAML"),
    "two million documents": ("--- a\n" * 150_000, "a second document"),
}

# What the refusal needs is imported before. Each file is read three times, since a processor has its moments.
PROBE = """
import json, resource, sys, time
from crystallize_plugins.config import load_folder
from crystallize_plugins.config.reading import library
from crystallize.errors import ConfigurationError

library("yaml", "PyYAML"), library("jsonschema_rs", "jsonschema-rs")
try:
    load_folder("tame")
except ConfigurationError:
    pass
measured = []
for number in range(int(sys.argv[1])):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        try:
            load_folder(f"wild{number}")
        except ConfigurationError as error:
            said = str(error)[:100_000]
        seconds.append(time.process_time() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    measured.append({"said": said, "seconds": min(seconds), "bytes": grown * 1024})
print(json.dumps(measured))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Load every file in a process of its own; give what was said of it, and what that took."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = {"tame": "steps: [a]\n", **{f"wild{number}": text for number, (text, _) in enumerate(FILES.values())}}
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(text, encoding="utf-8")
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "probe.py", str(len(FILES))],
        cwd=folder, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (folder / "harmed").exists()
    return dict(zip(FILES, json.loads(done.stdout), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_for_little(name, measured):
    assert FILES[name][1] in measured[name]["said"]
    # Of the processor: how busy the machine is does not count.
    assert measured[name]["seconds"] <= LIMIT_SECONDS
    assert measured[name]["bytes"] <= LIMIT_BYTES

"""What is found out about the machine, the packages, git and the command line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys

import pytest

from crystallize_plugins.environment import (
    command,
    command_facts,
    environment_facts,
    git_state,
    installed_packages,
    library_threads,
)
from crystallize_plugins.environment.background import find_out
from crystallize_plugins.environment.command import masked_arguments
from crystallize_plugins.environment.git import LONGEST_DIFF, MOST_NAMES


def test_outside_a_repository_git_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == {"reason": "no repository"}


def test_without_git_a_repository_says_so(tmp_path, git, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {"root": str(tmp_path), "reason": "git is not installed"}


def test_a_clean_commit_is_named(tmp_path, git):
    (tmp_path / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    git("commit", "-q", "-m", "one")
    state = git_state(tmp_path)
    assert state["commit"] == git("rev-parse", "HEAD")
    assert (state["branch"], state["dirty"], state["diff"], state["diff_complete"]) == ("main", False, "", True)
    assert (state["changed"], state["untracked"]) == ([], [])


def test_changes_are_named_and_shown_against_the_commit_staged_or_not(tmp_path, git):
    for name in ("a.py", "b.py", "old name.py"):
        (tmp_path / name).write_text(f"{name} = 1\n" * 5)
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (tmp_path / "a.py").write_text("changed\n")
    (tmp_path / "b.py").write_text("staged\n")
    git("add", "b.py")
    git("mv", "old name.py", "new näme.py")
    (tmp_path / "extra.py").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.py").write_text("")
    state = git_state(tmp_path / "folder")
    assert state["dirty"]
    assert sorted(state["changed"]) == ["a.py", "b.py", "new näme.py"]
    assert sorted(state["untracked"]) == ["extra.py", "folder/"]
    assert "+changed" in state["diff"]
    assert "+staged" in state["diff"]


def test_before_the_first_commit_there_is_none(tmp_path, git):
    (tmp_path / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    state = git_state(tmp_path)
    assert (state["commit"], state["branch"], state["changed"]) == (None, "main", ["a.py"])


def test_a_detached_head_has_no_branch(tmp_path, git):
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("checkout", "-q", "--detach")
    assert git_state(tmp_path)["branch"] is None


def test_of_a_huge_diff_the_beginning_is_kept(tmp_path, git):
    big = tmp_path / "big.txt"
    big.write_text("a line of text\n" * 200_000)
    git("add", "big.txt")
    git("commit", "-q", "-m", "one")
    big.write_text("another line of text\n" * 200_000)
    state = git_state(tmp_path)
    assert not state["diff_complete"]
    assert 0 < len(state["diff"].encode()) <= LONGEST_DIFF
    assert state["diff"].endswith("\n")
    assert state["changed"] == ["big.txt"]


def test_of_many_files_the_number_is_kept(tmp_path, git):
    for number in range(MOST_NAMES + 5):
        (tmp_path / f"{number}.txt").write_text("")
    state = git_state(tmp_path)
    assert (len(state["untracked"]), state["untracked_count"]) == (MOST_NAMES, MOST_NAMES + 5)


def test_a_broken_repository_gives_git_s_reason(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    state = git_state(tmp_path)
    assert set(state) == {"root", "reason"}
    assert state["reason"]


def test_no_program_of_the_repository_s_configuration_is_run(tmp_path, git):
    mark = tmp_path / "ran"
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {mark}\nexit 0\n")
    program.chmod(0o755)
    (tmp_path / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "-q", "-m", "one")
    for key in ("core.fsmonitor", "diff.external", "core.pager"):
        git("config", key, program)
    (tmp_path / "a.txt").write_text("two\n")
    assert "+two" in git_state(tmp_path)["diff"]
    assert not mark.exists()


def test_variables_that_mean_another_repository_do_not_count(tmp_path, git, monkeypatch):
    git("commit", "-q", "--allow-empty", "-m", "one")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git_state(tmp_path)["commit"]


def test_packages_are_those_that_metadata_tells_of():
    found = installed_packages()
    told = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        told.setdefault(name, distribution.version)
    assert {name: version.partition(" ")[0] for name, version in found.items()} == told


def test_of_two_versions_of_a_package_the_first_on_the_path_counts(install):
    first, second = install("acme-thing", "1.0", "first"), install("acme-thing", "2.0", "second")
    assert installed_packages([str(first), str(second)]) == {"acme-thing": "1.0"}


def test_a_package_says_where_it_came_from(install):
    direct = {
        "editable": {"url": "file:///x", "dir_info": {"editable": True}},
        "vcs": {"url": "https://user:secret@example.org/x", "vcs_info": {"vcs": "git", "commit_id": "1d3f"}},
        "archive": {"url": "file:///x.whl", "archive_info": {"hashes": {"sha256": "ab12"}}},
        "folder": {"url": "file:///x", "dir_info": {}},
    }
    for name, origin in direct.items():
        site = install(name, "1.0", direct_url__json=json.dumps(origin))
    site = install("broken", "1.0", direct_url__json="{")
    assert installed_packages([str(site)]) == {
        "archive": "1.0 (file sha256:ab12)",
        "broken": "1.0 (origin unknown)",
        "editable": "1.0 (editable)",
        "folder": "1.0 (local)",
        "vcs": "1.0 (git 1d3f)",
    }


def test_old_forms_of_metadata_are_read(tmp_path):
    egg = tmp_path / "acme_old.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: acme-old\nVersion: 0.3\n")
    assert installed_packages([str(tmp_path), str(tmp_path / "absent")]) == {"acme-old": "0.3"}


def test_the_machine_is_described():
    facts = environment_facts()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["implementation"] == "CPython"
    assert facts["cores"] >= 1
    assert all(facts[name] for name in ("system", "machine", "cpu", "executable"))


def test_only_variables_that_change_numbers_are_recorded():
    environ = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/home/me"}
    assert environment_facts(environ)["variables"] == {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def test_libraries_say_how_many_threads_they_use():
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    libraries = library_threads()
    assert all(library["num_threads"] >= 1 for library in libraries)
    assert not any("filepath" in library for library in libraries)


@pytest.mark.parametrize(
    "given, masked",
    [
        (["--api-key", "sk-1", "-v"], ["--api-key", "***", "-v"]),
        (["--api-key=sk-1"], ["--api-key=***"]),
        (["--db.password=x", "rate=0.1"], ["--db.password=***", "rate=0.1"]),
        (["OPENAI_API_KEY=x"], ["OPENAI_API_KEY=***"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["postgres://me:hunter2@host/db"], ["postgres://me:***@host/db"]),
        (["--max-tokens", "5"], ["--max-tokens", "5"]),
    ],
)
def test_secrets_on_the_command_line_are_masked(given, masked):
    assert masked_arguments(given) == masked


STARTS = "from crystallize_plugins.environment import command_facts as f; import json; print(json.dumps(f()))"


def test_how_a_program_was_started_is_told(python, write, tmp_path):
    write(STARTS, "package/tool.py")
    write("", "package/__init__.py")
    write(STARTS, "plain.py")
    script = json.loads(python("plain.py", "--rate", "3"))
    assert (script["how"], script["file"], script["argv"]) == (
        "script",
        str(tmp_path / "plain.py"),
        ["plain.py", "--rate", "3"],
    )
    assert script["cwd"] == str(tmp_path)
    module = json.loads(python("-m", "package.tool", "x"))
    assert (module["how"], module["module"], module["file"]) == (
        "module",
        "package.tool",
        str(tmp_path / "package" / "tool.py"),
    )
    command = json.loads(python("-c", STARTS))
    assert (command["how"], command["file"]) == ("command", None)
    assert command["command"][1] == "-c"


def test_a_notebook_is_told_by_its_kernel(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", os)
    command._facts.cache_clear()
    try:
        assert command_facts()["how"] == "notebook"
    finally:
        command._facts.cache_clear()


def test_what_was_just_asked_is_not_asked_again_unless_a_commit_came_between(tmp_path, git):
    git("commit", "-q", "--allow-empty", "-m", "one")
    first = find_out(tmp_path)
    before = first.wait()["git"]["commit"]
    assert find_out(tmp_path) is first
    git("commit", "-q", "--allow-empty", "-m", "two")
    second = find_out(tmp_path)
    assert second is not first
    assert second.wait()["git"]["commit"] != before


def test_a_forked_child_asks_anew(tmp_path):
    find_out(tmp_path).wait()
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    script = (
        "import os\n"
        "from crystallize_plugins.environment.background import find_out\n"
        "first = find_out('.')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if 'packages' in find_out('.').wait() and find_out('.') is not first else 1)\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "0", done.stderr

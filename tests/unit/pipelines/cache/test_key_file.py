"""The user's key: made once, readable by nobody else, and never where entries lie."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crystallize import pipeline_step
from crystallize.errors import ConfigurationError
from crystallize.pipelines import cache
from crystallize.pipelines.cache import settings
from crystallize.pipelines.cache.settings import current_settings, load_key

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


@pytest.fixture
def own_place(monkeypatch, tmp_path):
    """Let the key have its own place, in a home of its own."""
    monkeypatch.delenv("CRYSTALLIZE_CACHE_KEY_FILE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    "platform,environment,expected",
    [
        ("linux", {}, ".config/crystallize/cache.key"),
        ("linux", {"XDG_CONFIG_HOME": "/elsewhere"}, "/elsewhere/crystallize/cache.key"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config/crystallize/cache.key"),
        ("darwin", {"XDG_CONFIG_HOME": "/elsewhere"}, "Library/Application Support/crystallize/cache.key"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/crystallize/cache.key"),
        ("win32", {}, "AppData/Local/crystallize/cache.key"),
    ],
)
def test_the_key_lies_where_programs_of_this_system_keep_their_settings(
    own_place, monkeypatch, platform, environment, expected
):
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings.sys, "platform", platform)
    assert Path(current_settings().key_file) == own_place / expected


@posix
def test_the_key_is_made_readable_by_its_user_alone_and_kept(own_place):
    previous = os.umask(0)
    try:
        key = load_key(current_settings())
    finally:
        os.umask(previous)
    path = Path(current_settings().key_file)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(key) == 32
    assert load_key(current_settings()) == key
    assert [file.name for file in path.parent.iterdir()] == ["cache.key"]


def test_processes_that_begin_at_once_make_one_key(own_place):
    script = (
        "from crystallize.pipelines.cache.settings import current_settings, load_key\n"
        "import sys; settings = current_settings(); sys.stdin.readline(); print(load_key(settings).hex())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(16 if SOAK else 4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = {process.communicate()[0].strip() for process in processes}
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert len(list(own_place.rglob("*.key*"))) == 1


@posix
def test_a_key_that_others_can_read_is_refused_unless_the_user_named_it(own_place, monkeypatch):
    load_key(current_settings())
    path = Path(current_settings().key_file)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_key(current_settings())
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(path))
    assert load_key(current_settings())
    path.chmod(0o622)
    with pytest.raises(ConfigurationError, match="changed by others"):
        load_key(current_settings())


@pytest.mark.parametrize("content", [b"", b"short", b"00" * 31, b"\xff" * 64])
def test_a_file_without_a_key_is_refused_and_left_alone(own_place, content):
    load_key(current_settings())
    path = Path(current_settings().key_file)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no key"):
        load_key(current_settings())
    assert path.read_bytes() == content


def test_a_key_in_the_cache_folder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / ".cache" / "key"))
    with pytest.raises(ConfigurationError, match="lies in the cache folder"):
        current_settings()
    if os.name != "nt":
        (tmp_path / "link").symlink_to(tmp_path / ".cache")
        monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / "link" / "key"))
        with pytest.raises(ConfigurationError, match="lies in the cache folder"):
            current_settings()


@pytest.mark.parametrize("problem", ["key in the cache", "key cannot be made", "size"])
def test_without_a_usable_cache_the_run_goes_on_uncached_and_says_so_once(
    make, note, ran, log, values, monkeypatch, tmp_path, problem
):
    if problem == "size":
        monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", "plenty")
    elif problem == "key in the cache":
        monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / ".cache" / "key"))
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / "file" / "key"))

    @pipeline_step(cacheable=True)
    def slow(data, ctx):
        note()
        return data, {"out": sum(data)}

    assert values(make(slow()).run(replicates=3)) == [6, 6, 6]
    assert len(ran()) == 3
    warned = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "no step is cached in this run" in warned[0]
    assert not (tmp_path / ".cache").exists()


def test_the_public_functions_say_what_is_wrong_with_a_setting(monkeypatch):
    for text in ("plenty", "-1", "1 ZB", "1e9"):
        monkeypatch.setenv("CRYSTALLIZE_CACHE_SIZE", text)
        with pytest.raises(ConfigurationError, match="CRYSTALLIZE_CACHE_SIZE must be a size"):
            cache.info()
        with pytest.raises(ConfigurationError):
            cache.clear()

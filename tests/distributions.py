"""Distributions that exist for one test: metadata and modules in a folder on the import path."""

from __future__ import annotations

import base64
import hashlib
import sys
import textwrap

import pytest

from crystallize.discovery.metadata import rescan


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Give a function that installs a distribution for this test."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def install(name, version="1.0", *, plugins=None, groups=None, modules=None, requires=(), extra_files=None):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        lines = []
        for group, entries in {**(groups or {}), **({"crystallize.plugins": plugins} if plugins else {})}.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        record = []
        for file, text in {**(modules or {}), **(extra_files or {})}.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
            digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{path.stat().st_size}")
        (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n", encoding="utf-8")
        rescan()
        return info

    yield install
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) and str(folder) in str(sys.modules[module].__file__):
            del sys.modules[module]
    monkeypatch.undo()
    rescan()

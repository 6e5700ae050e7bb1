"""Write the projects of `pairs_code`, import each afresh, and print the identity of its step as JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from pairs_code import ROWS, Row

from crystallize.fingerprint import identify

LIBRARIES = ("pydantic", "msgspec", "attrs", "numpy", "pandas", "sklearn", "scipy", "torch")


def write(row: Row, folder: Path, side: int) -> set[str]:
    """Write one side of a pair; give the names of its modules."""
    files = row.files
    for name, text in files.items():
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        if "." in name:
            path.parent.joinpath("__init__.py").touch()
        path.write_text(text.replace("@@", str(row.sides[side])), encoding="utf-8")
    return {*files, *(name.partition(".")[0] for name in files), "colorsys", "made_up"}


def look(row: Row, folder: Path, side: int) -> list[object]:
    """Give the identity of a step, twice, and what of it is untracked."""
    names = write(row, folder, side)
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    if row.variable is not None:
        name, value = row.variable[0], row.variable[1 + side]
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        step = importlib.import_module("steps").step
        found, again = identify(step), identify(step)
        return [found.digest, again.digest, list(found.untracked)]
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        if row.variable is not None:
            os.environ.pop(row.variable[0], None)


def _imports(text: str, name: str) -> bool:
    return f"import {name}" in text or f"from {name}" in text


def report(row: Row, folder: Path) -> dict[str, object]:
    """Look at both sides of a pair, and at the first one again."""
    missing = [name for name in LIBRARIES if _imports(row.steps, name) and importlib.util.find_spec(name) is None]
    if missing:
        return {"missing": f"needs {missing[0]}"}
    try:
        return {"sides": [look(row, folder / str(at), side) for at, side in enumerate((0, 0, 1))]}
    except ImportError as problem:
        if problem.name in sys.stdlib_module_names:
            return {"missing": f"needs a later Python: {problem}"}
        return {"problem": traceback.format_exc()}
    except Exception:  # noqa: BLE001 - told by the test
        return {"problem": traceback.format_exc()}


print(json.dumps({row.kind: report(row, Path(str(at)).absolute()) for at, row in enumerate(ROWS)}))

"""The distributions of this folder as modules, without being installed; for the suites that ours have to pass."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def third_party(name):
    """Import what a distribution holds."""
    source = str(HERE / name / "src")
    if source not in sys.path:
        sys.path.append(source)
    return importlib.import_module(name.replace("-", "_"))

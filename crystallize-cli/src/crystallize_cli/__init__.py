"""The command line of Crystallize."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

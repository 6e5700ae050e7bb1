"""The context, under the path by which the documents import it."""

from __future__ import annotations

from crystallize.context import FrozenContext

__all__ = ["FrozenContext"]

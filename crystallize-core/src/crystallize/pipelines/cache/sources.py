"""What the data is that a source gave, where the source says all that it depends on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from crystallize.datasources.base import DataSource
from crystallize.datasources.function import FunctionSource
from crystallize.datasources.inputs import ExperimentInput
from crystallize.fingerprint import combine, content_of, identify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crystallize.fingerprint import Identity

__all__ = ["SourceIdentities"]

# A file may change again within the time that its stamp counts in.
_SETTLED = 2.0


class SourceIdentities:
    """The identities of data sources during a run; files are read once, as long as size and time stay what they are."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, ...], str]] = {}
        self._arrays: dict[int, tuple[Any, Identity]] = {}

    def of(self, source: DataSource) -> str | None:
        """Give the identity of what a source gives, or None where it does not say all that this depends on.

        What it reads from its context comes on top.
        """
        if not source.is_declared:
            return None
        found = list(self._parts(source))
        if any(part.untracked for part in found):
            return None
        return combine(*(part.digest for part in found), *map(self._content, source.depends_on))

    def _parts(self, source: DataSource) -> Iterator[Identity]:
        if isinstance(source, ExperimentInput):
            for name, part in source.sources.items():
                yield identify(name)
                yield from self._parts(part)
        elif isinstance(source, FunctionSource) and type(source).__fingerprint__ is FunctionSource.__fingerprint__:
            yield identify(source.fn)
            for name, value in sorted(source._params.items()):
                yield identify(name)
                yield self._array(value) if hasattr(value, "__array_interface__") else identify(value)
        elif type(source).__fingerprint__ is DataSource.__fingerprint__:
            yield identify(type(source))
            yield identify(source._state())
        else:
            yield identify(source)

    def _array(self, value: Any) -> Identity:
        # Handed out as views that cannot be written to: nobody changes it during a run.
        known = self._arrays.get(id(value))
        if known is None:
            known = self._arrays[id(value)] = (value, identify(value))
        return known[1]

    def _content(self, path: Path) -> str:
        try:
            found = path.stat()
        except OSError:
            return content_of(path)
        if not path.is_file():
            return content_of(path)
        stamp = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
        known = self._files.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        content = content_of(path)
        if time.time() - found.st_mtime > _SETTLED:
            self._files[str(path)] = (stamp, content)
        return content

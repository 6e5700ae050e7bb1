"""The artifacts of one cell: files that its steps write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystallize.errors import ArgumentTypeError
from crystallize.names import check_file_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.context.observer import Observer

__all__ = ["ArtifactLog", "WrittenArtifact"]


@dataclass(frozen=True, slots=True)
class WrittenArtifact:
    """One file as a step wrote it."""

    position: int
    """The step's position, counted from 1; 0 before the first step."""
    name: str
    data: bytes


class ArtifactLog:
    """The files that the steps of one cell wrote."""

    __slots__ = ("_files", "_observer", "position")

    def __init__(self) -> None:
        self._files: dict[tuple[int, str], WrittenArtifact] = {}
        self._observer: Observer | None = None
        self.position = 0

    def _observed_by(self, observer: Observer) -> ArtifactLog:
        """Return the same files with somebody who is told of their use."""
        observed = object.__new__(ArtifactLog)
        observed._files, observed._observer, observed.position = self._files, observer, self.position
        return observed

    def add(self, file_name: str, data: bytes | bytearray | memoryview | str) -> None:
        """Write a file of the running step.

        Parameters
        ----------
        file_name : str
            A plain file name, such as ``"model.bin"``. A step that writes one name again replaces
            what it wrote; two steps may use the same name.
        data : bytes-like or str
            The content; text is encoded as UTF-8.

        Raises
        ------
        ArgumentTypeError
            If `data` is neither bytes nor text.
        ValidationError
            If `file_name` is no plain file name.
        """
        if self._observer is not None:
            self._observer.writes_artifact(file_name)
        check_file_name(file_name, what="artifact")
        if isinstance(data, str):
            content = data.encode("utf-8")
        elif isinstance(data, (bytes, bytearray, memoryview)):
            content = bytes(data)
        else:
            raise ArgumentTypeError(
                f"artifact {file_name!r} must be bytes or text, not {type(data).__name__}: "
                "encode it first, or declare an Artifact with a writer"
            )
        self._files[self.position, file_name] = WrittenArtifact(self.position, file_name, content)

    def __len__(self) -> int:
        if self._observer is not None:
            self._observer.reads_artifacts()
        return len(self._files)

    def __iter__(self) -> Iterator[WrittenArtifact]:
        return iter(self.written())

    def written(self) -> tuple[WrittenArtifact, ...]:
        """Return the files in order of their first writing."""
        if self._observer is not None:
            self._observer.reads_artifacts()
        return tuple(self._files.values())

    def __repr__(self) -> str:
        return f"ArtifactLog({[file.name for file in self]})"

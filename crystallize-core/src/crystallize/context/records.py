"""What a cell tells while it runs: metrics, artifacts and events."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from crystallize.context.isolation import ATOMS, isolate, snapshot
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.names import check_file_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.context.observer import Observer


__all__ = ["ArtifactLog", "Cell", "Event", "MappingViews", "Metrics", "WrittenArtifact"]


class MappingViews:
    """The views that mappings have, for what is read as one and is none."""

    __slots__ = ()

    def keys(self) -> KeysView[str]:
        """Return a view of the keys, as a mapping does."""
        return KeysView(cast("Mapping[str, Any]", self))

    def values(self) -> ValuesView[Any]:
        """Return a view of the values, each as it is looked up."""
        return ValuesView(cast("Mapping[str, Any]", self))

    def items(self) -> ItemsView[str, Any]:
        """Return a view of the pairs of a key and its value."""
        return ItemsView(cast("Mapping[str, Any]", self))


class Metrics(MappingViews):
    """What the steps of one cell recorded.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.add("loss", 0.5)
    >>> metrics.add("loss", 0.25, tags={"epoch": 2})
    >>> metrics["loss"]
    (0.5, 0.25)
    >>> metrics["absent"]
    ()
    """

    __slots__ = ("_observer", "_order", "_position", "_tags", "_values")

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}
        self._tags: dict[str, dict[int, Mapping[str, Any]]] = {}
        # In pairs: the step that recorded, counted from 1, and the name.
        self._order: list[int | str] = []
        self._position = 0
        self._observer: Observer | None = None

    def _observed_by(self, observer: Observer) -> Metrics:
        """Return the same metrics with somebody who is told of their use."""
        observed = object.__new__(Metrics)
        observed._values, observed._tags, observed._order = self._values, self._tags, self._order
        observed._position, observed._observer = self._position, observer
        return observed

    def add(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record one value.

        Parameters
        ----------
        name : str
            The metric. A name may be recorded any number of times.
        value : object
            Anything; numbers are what hypotheses and optimisers can use. What can still change
            (containers, arrays) is recorded as it is now.
        tags : mapping, optional
            Labels of this one value, such as ``{"epoch": 2}``.

        Raises
        ------
        ArgumentTypeError
            If `name` is no text, or `tags` no mapping.
        ValidationError
            If `name` is empty.
        """
        if self._observer is not None:
            self._observer.writes_metric(name)
        if tags is not None and not hasattr(tags, "items"):
            raise ArgumentTypeError(f"tags of metric {name!r} must be a mapping, not {type(tags).__name__}")
        if value.__class__ not in ATOMS:
            value = snapshot(value)
        try:
            values = self._values[name]
        except (KeyError, TypeError):
            values = self._values[_checked(name)] = []
        values.append(value)
        self._order.extend((self._position, name))
        if tags is not None:
            self._tags.setdefault(name, {})[len(values) - 1] = isolate(dict(tags))

    def _looked_at(self) -> None:
        if self._observer is not None:
            self._observer.reads_metrics()

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        self._looked_at()
        return isolate(tuple(self._values.get(name, ())))

    def __contains__(self, name: object) -> bool:
        self._looked_at()
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        self._looked_at()
        return iter(self._values)

    def __len__(self) -> int:
        self._looked_at()
        return len(self._values)

    def get_tags(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """Return the tags of each value of `name`, ``{}`` where a value has none."""
        self._looked_at()
        tags = self._tags.get(name, {})
        return tuple(isolate(tags.get(index, {})) for index in range(len(self._values.get(name, ()))))

    def as_dict(self) -> Mapping[str, tuple[Any, ...]]:
        """Return a read-only mapping of every metric to its values."""
        self._looked_at()
        return MappingProxyType({name: isolate(tuple(values)) for name, values in self._values.items()})

    def __repr__(self) -> str:
        return f"Metrics({dict(self.as_dict())!r})"


def _checked(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"a metric's name must be text, not {type(name).__name__}: {name!r}")
    if not name:
        raise ValidationError("a metric's name must not be empty")
    return name


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


class Cell(NamedTuple):
    """One condition in one replicate: the unit of scheduling, failure and storage."""

    condition: str
    replicate: int

    @property
    def key(self) -> str:
        """The cell's name in ``result.errors``: ``"<condition>_rep_<replicate>"``."""
        return f"{self.condition}_rep_{self.replicate}"


class Event(NamedTuple):
    """Something that happened while a run went on: a step's ``ctx.emit`` or the engine's progress.

    The engine's own are ``run_started`` (``cells``, how many are to run), ``cell_started``, once for each attempt,
    ``step_started`` (``step``, its name, and ``position``, from 1), ``cell_retried`` (``attempt``, the number of the
    one that failed, ``step``, ``error_type``, ``error``, and ``delay``, the seconds until the next one),
    ``cell_finished`` (``failed``, ``duration``) and ``run_finished`` (``failed``).
    """

    name: str
    fields: Mapping[str, Any]
    cell: Cell | None
    time: float
    """Seconds since the epoch."""

"""The tables of a result as pandas, polars, Arrow, xarray and Parquet have them; each is imported at its use."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from crystallize.checks import check_choice
from crystallize.errors import MissingExtraError
from crystallize.results.export import written_atomically
from crystallize.results.tables import (
    VERDICTS,
    as_floats,
    metric_columns,
    metric_parts,
    metric_types,
    verdict_columns,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import xarray as xr

    from crystallize.results.metrics import ExperimentMetrics
    from crystallize.results.provenance import ConditionLog
    from crystallize.results.tables import MetricPart

__all__ = ["Tabular", "needed", "pandas_frame"]

_TABLES = ("metrics", "verdicts")
_MOST_ROWS = 1 << 17
"""Rows that are converted at once, where a table may be made of pieces."""
_GRID = ("condition", "replicate")
_INDEX = "index"
_COORDINATES = (*_GRID, _INDEX, "seed")


class Tabular:
    """What has metrics and verdicts, and gives them as tables.

    Each method has ``table="metrics"`` and ``table="verdicts"``.

    ``"metrics"``
        One row for each recorded value: ``condition``, ``replicate``, ``seed``, ``metric``, ``index`` (which of the
        values of this metric it is that the cell recorded, from 0), ``value`` (64-bit float) and ``text``. What is no
        number has no value: its ``text`` is the text itself, or JSON. Integers beyond 2^53 that no float holds exactly
        have both. ``text`` is absent otherwise. Rows come by condition, metric and replicate. A cell that failed has no
        row; ``result.errors`` names it. Seeds are integers, and texts where one of them has more than 64 bits.

    ``"verdicts"``
        One row for each verdict: ``hypothesis``, all fields of `Verdict` (``details`` as JSON), and ``ci_low``,
        ``ci_high``, ``n_baseline``, ``n_treatment``.
    """

    metrics: ExperimentMetrics
    logs: dict[str, ConditionLog]

    def to_pandas(self, table: str = "metrics") -> pd.DataFrame:
        """Return a table as a pandas data frame.

        Parameters
        ----------
        table : {"metrics", "verdicts"}, default "metrics"
            See `Tabular`.

        Raises
        ------
        ValueError
            There is no such table.
        MissingExtraError
            An `ImportError`: ``pip install "crystallize-core[pandas]"``.

        Examples
        --------
        >>> frame = result.to_pandas()  # doctest: +SKIP
        >>> frame.groupby(["metric", "condition"])["value"].mean()  # doctest: +SKIP
        """
        columns, types = self._whole(table)
        return pandas_frame(columns, types, what="to_pandas()")

    def to_polars(self, table: str = "metrics") -> pl.DataFrame:
        """Return a table as a polars data frame.

        Parameters, errors and columns are those of `to_pandas`; what is absent is null, and NaN is a value. The extra
        is ``polars``.
        """
        columns, types = self._whole(table)
        polars = needed("polars", what="to_polars()")

        def dtype(kind: Any) -> Any:
            if get_origin(kind) is list:
                return polars.List(dtype(get_args(kind)[0]))
            return {str: polars.String, int: polars.Int64, float: polars.Float64, bool: polars.Boolean}[kind]

        frame: pl.DataFrame = polars.DataFrame(columns, schema={name: dtype(kind) for name, kind in types.items()})
        return frame

    def to_arrow(self, table: str = "metrics") -> pa.Table:
        """Return a table as an Arrow table.

        Parameters, errors and columns are those of `to_pandas`; what is absent is null, and NaN is a value. The extra
        is ``arrow``.
        """
        arrow = needed("pyarrow", extra="arrow", what="to_arrow()")
        schema, pieces = self._arrow(arrow, table)
        made: pa.Table = arrow.Table.from_batches(pieces, schema)
        return made

    def to_parquet(self, path: str | os.PathLike[str], table: str = "metrics") -> None:
        """Write a table to a Parquet file, piece by piece.

        Parameters
        ----------
        path : path
            The file, which appears whole or not at all; folders on the way are made.
        table : {"metrics", "verdicts"}, default "metrics"
            As `to_arrow` gives it.

        Raises
        ------
        ValueError
            There is no such table.
        MissingExtraError
            An `ImportError`: ``pip install "crystallize-core[arrow]"``.
        """
        schema, pieces = self._arrow(needed("pyarrow", extra="arrow", what="to_parquet()"), table)
        with (
            written_atomically(Path(path)) as temporary,
            import_module("pyarrow.parquet").ParquetWriter(temporary, schema) as writer,
        ):
            for piece in pieces:
                writer.write_batch(piece)

    def to_xarray(self, table: str = "metrics") -> xr.Dataset:
        """Return a table as an xarray dataset.

        Parameters
        ----------
        table : {"metrics", "verdicts"}, default "metrics"
            Of the metrics a variable for each, with the dimensions ``condition`` and ``replicate``, and ``index`` where
            a cell recorded several values; and a coordinate ``seed``. It is of floats, NaN where there is none; a
            metric of which some values are no numbers is of objects, texts among them. A metric with the name of a
            coordinate is the variable ``metric_<name>``. Of the verdicts the fields, along the dimension ``verdict``.

        Raises
        ------
        ValueError
            There is no such table.
        MissingExtraError
            An `ImportError`: ``pip install "crystallize-core[xarray]"``.
        """
        check_choice(table, _TABLES, what="table")
        xarray = needed("xarray", what="to_xarray()")
        if table == "verdicts":
            columns, types = self._whole(table)
            frame = pandas_frame(columns, types, what="to_xarray()").astype({"holds": object})
            made: xr.Dataset = xarray.Dataset.from_dataframe(frame.rename_axis("verdict"))
            return made
        return _dataset(xarray, self.logs)

    def _whole(self, table: str) -> tuple[dict[str, Sequence[Any]], dict[str, Any]]:
        check_choice(table, _TABLES, what="table")
        if table == "verdicts":
            return {**verdict_columns(self.metrics.hypotheses)}, VERDICTS
        (columns,) = metric_columns(self.logs)
        return columns, metric_types(self.logs)

    def _arrow(self, arrow: Any, table: str) -> tuple[Any, Iterator[Any]]:
        """Return the schema of a table and its pieces."""
        check_choice(table, _TABLES, what="table")

        def kind_of(kind: Any) -> Any:
            if get_origin(kind) is list:
                return arrow.list_(kind_of(get_args(kind)[0]))
            return {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}[kind]

        types = VERDICTS
        pieces: Iterator[Mapping[str, Sequence[Any]]] = iter([verdict_columns(self.metrics.hypotheses)])
        if table == "metrics":
            types = metric_types(self.logs)
            pieces = metric_columns(self.logs, _MOST_ROWS)
        schema = arrow.schema([(name, kind_of(kind)) for name, kind in types.items()])
        return schema, (arrow.RecordBatch.from_pydict(dict(piece), schema) for piece in pieces)


def needed(module: str, *, extra: str | None = None, what: str) -> Any:
    """Import a library that an extra of the core brings.

    Parameters
    ----------
    module : str
    extra : str, optional
        By default it has the name of the module.
    what : str
        Who needs it, for the message.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module}, which cannot be imported ({error}): "
            f'pip install "crystallize-core[{extra or module}]"'
        ) from error


def pandas_frame(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Any], *, what: str) -> pd.DataFrame:
    """Return columns as a pandas data frame, those of known types as such; `what` needs it."""
    pandas = needed("pandas", what=what)

    def series(name: str, values: Sequence[Any]) -> Any:
        kind = types.get(name)
        if kind is int:
            return pandas.Series(values, dtype="Int64" if None in values else "int64")
        if kind in (float, bool):
            return pandas.Series(values, dtype="float64" if kind is float else "boolean")
        return pandas.Series(values, dtype=object if name == "text" or get_origin(kind) is list else None)

    frame: pd.DataFrame = pandas.DataFrame({name: series(name, values) for name, values in columns.items()})
    return frame


def _dataset(xarray: Any, logs: Mapping[str, ConditionLog]) -> xr.Dataset:
    """Return the recorded values on the grid of conditions and replicates."""
    np = import_module("numpy")
    rows = {condition: row for row, condition in enumerate(logs)}
    replicates = sorted({replicate for log in logs.values() for replicate in log.replicates})
    places = {replicate: column for column, replicate in enumerate(replicates)}
    grid = len(rows), len(places)
    parts: dict[str, list[MetricPart]] = {}
    for part in metric_parts(logs):
        parts.setdefault(part.metric, []).append(part)

    def filled(metric: str) -> tuple[tuple[str, ...], Any]:
        """Return the dimensions of a metric's variable, and its values."""
        depth = 1 + max((max(part.indices, default=0) for part in parts[metric]), default=0)
        numbers = np.full((*grid, depth), math.nan)
        told: list[tuple[tuple[int, int, int], str]] = []
        for part in parts[metric]:
            row, columns = rows[part.condition], [places[each] for each in part.replicates]
            values, absent, texts = as_floats(part.values)
            numbers[row, columns, part.indices] = values
            told += [((row, columns[each], part.indices[each]), texts[each]) for each in absent]
        if told:
            numbers = numbers.astype(object)
            for place, text in told:
                numbers[place] = text
        return (*_GRID, _INDEX)[: 2 + (depth > 1)], numbers if depth > 1 else numbers[:, :, 0]

    seeds = np.full(grid, None, dtype=object)
    for condition, log in logs.items():
        seeds[rows[condition], [places[each] for each in log.replicates]] = list(log.columns.seeds)
    if seeds.size and metric_types(logs)["seed"] is int and not any(seed is None for seed in seeds.flat):
        seeds = seeds.astype("int64")
    variables = {f"metric_{name}" if name in _COORDINATES else name: filled(name) for name in parts}
    deepest = max((values.shape[2] for _, values in variables.values() if values.ndim > len(_GRID)), default=0)
    made: xr.Dataset = xarray.Dataset(
        {name: (dims, _padded(np, values, deepest)) for name, (dims, values) in variables.items()},
        {
            "condition": list(rows),
            "replicate": np.array(replicates, dtype="int64"),
            "seed": (_GRID, seeds),
            **({_INDEX: np.arange(deepest)} if deepest else {}),
        },
    )
    return made


def _padded(np: Any, values: Any, deepest: int) -> Any:
    """Return values as deep as those of the other metrics, NaN where a cell recorded fewer."""
    if values.ndim == len(_GRID):
        return values
    return np.pad(values, ((0, 0), (0, 0), (0, deepest - values.shape[2])), constant_values=math.nan)

"""What a command writes: data to stdout, as text or as JSON, and everything else to stderr."""

from __future__ import annotations

import functools
import logging
import os
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from crystallize_cli.streams import reserved_stdout, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["EXITS", "Output", "messages_at", "shown", "with_output"]


class _Messages(logging.Handler):
    """Writes to stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = shown(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)
            return
        tqdm = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
        if tqdm is not None and tqdm._instances:
            tqdm.write(text, file=sys.stderr)
        elif sys.stderr is not None:  # as it is where the process was started without
            sys.stderr.write(f"{text}\n")


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


@contextmanager
def messages_at(level: int) -> Iterator[None]:
    """Show what is logged to the ``crystallize`` logger, from a level on.

    The level is the handler's: plugins set the logger's own for each run.

    Parameters
    ----------
    level : int
        `logging.ERROR` for quiet, `logging.INFO` else, `logging.DEBUG` for verbose.
    """
    logger = logging.getLogger("crystallize")
    handler = _Messages(level)
    handler.setFormatter(_Line("%(message)s"))
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


EXITS = object()
"""The ``obj`` of click's root context where the process ends with the command."""

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Output:
    """How a command was asked to write.

    Attributes
    ----------
    json : bool
        Data as JSON, for programs.
    quiet : bool
        No messages but errors.
    verbose : bool
        More messages: what the framework logs, too.
    stream : text stream or None
        Where data goes; None means standard output. With ``--json`` everything else that is printed meanwhile, by
        steps, imported modules, C libraries and child processes, goes to stderr.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    stream: TextIO | None = None

    def data(self, record: Any, text: Callable[[], str]) -> None:
        """Write the answer to stdout.

        Parameters
        ----------
        record : object
            What ``--json`` writes: plain data, or anything that has a ``to_dict()``.
        text : callable
            Gives what people read; not called for JSON. Empty text writes nothing.
        """
        if self.json:
            from crystallize.hooks.tools import dump_json

            write(dump_json(record.to_dict() if hasattr(record, "to_dict") else record) + "\n", self.stream)
        else:
            shown = text()
            if shown:
                self.write(shown)

    def write(self, text: str, *, newline: bool = True) -> None:
        """Write text to stdout, as `shown` gives it; a reader that has gone (``| head``) is no error."""
        write(shown(f"{text}\n" if newline else text), self.stream)

    def table(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, right: Sequence[str] = ()) -> None:
        """Write rows to stdout: a list of objects as JSON, else columns of text, empty ones left out.

        Parameters
        ----------
        rows : iterable of mapping
            JSON has all of their entries, text those of `columns`.
        columns : sequence of str
            In order; each heads its column.
        right : sequence of str
            Columns of numbers.
        """
        listed = list(rows)

        def text() -> str:
            from crystallize.hooks.tools import aligned

            body = [[_cell(row.get(column)) for column in columns] for row in listed]
            return "\n".join(aligned([list(columns), *body], [columns.index(name) for name in right])) if body else ""

        self.data([dict(row) for row in listed], text)

    def say(self, message: str) -> None:
        """Write a message to stderr."""
        if not self.quiet:
            click.echo(shown(message), err=True)

    def detail(self, message: str) -> None:
        """Write a message to stderr where more was asked for."""
        if self.verbose:
            click.echo(shown(message), err=True)

    def warn(self, message: str) -> None:
        """Write a message to stderr that ``--quiet`` does not hold back."""
        click.echo(f"{self.style('warning:', fg='yellow')} {shown(message)}", err=True)

    @staticmethod
    def style(text: str, **style: Any) -> str:
        """Colour text for stderr, unless nobody would see it or ``NO_COLOR`` is set."""
        return click.style(text, **style) if _coloured() else text


def shown(text: str) -> str:
    """Return text as it is written for people: what could steer their terminal is escaped."""
    from crystallize.hooks.tools import printable

    return printable(text, lines=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _exits() -> bool:
    """Whether the process ends with the command."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().obj is EXITS


def _coloured() -> bool:
    # https://no-color.org: any value that is not empty counts.
    return not os.environ.get("NO_COLOR") and sys.stderr.isatty()


def with_output(command: F) -> F:
    """Return a command ``--json``, ``--quiet`` and ``--verbose``, and an `Output` as its argument `output`.

    Examples
    --------
    >>> @click.command()
    ... @with_output
    ... def hello(output):
    ...     output.data({"hello": "world"}, lambda: "hello, world")
    >>> hello.main(["--json"], standalone_mode=False)
    {
      "hello": "world"
    }
    """

    @click.option("--json", "as_json", is_flag=True, help="Write data as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Write no messages but errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Write more messages.")
    @functools.wraps(command)
    def with_options(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose contradict each other: give one of them")

        # First of all: the modules of an experiment, and loggers that they make, may print when they are imported.
        with (
            reserved_stdout(exits=_exits()) if as_json else nullcontext() as stream,
            messages_at(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO),
        ):
            return command(*args, output=Output(as_json, quiet, verbose, stream), **kwargs)

    return with_options  # type: ignore[return-value]

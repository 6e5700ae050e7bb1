"""The tests that every subcommand of ``crystallize`` should pass, in a class to inherit."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

from crystallize.testing.overriding import check_overrides
from crystallize.testing.promises import promise

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandConformance"]

_USAGE = 2


class CommandConformance:
    """Inherit this, give one fixture, and pytest calls the command as ``crystallize`` does.

    The fixture ``command`` gives what ``@click.command`` or ``@click.group`` made. The messages of tests that fail have
    the name of the broken rule in square brackets: see `RULES`.

    Attributes
    ----------
    arguments : sequence of str, default ()
        Arguments with which the command works, for the test of ``--json``.

    Examples
    --------
    In a test module of the command's distribution::

        import pytest
        from crystallize.testing import CommandConformance

        from acme_report import report


        class TestReport(CommandConformance):
            @pytest.fixture
            def command(self):
                return report
    """

    arguments: Sequence[str] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_overrides(cls)

    def test_it_has_a_help(self, command: Any) -> None:
        """``--help`` says what it does, on standard output, and succeeds."""
        code, out, _ = _called(command, "--help")
        promise(code == 0, "errors", f"--help ends with {code}")
        promise("Usage:" in out, "errors", f"--help does not say how it is used: {out!r}")
        promise(bool(command.help and command.help.strip()), "errors", "it has no help: write a docstring")

    def test_its_json_is_json_alone(self, command: Any) -> None:
        """With ``--json`` standard output is one JSON document and nothing else, though it may say more on stderr."""
        if getattr(command, "commands", None):
            return  # A group: what its subcommands write is tested with them.
        options = {name for parameter in command.params for name in parameter.opts}
        promise("--json" in options, "errors", "it has no option --json: programs cannot read what it writes")
        code, out, said = _called(command, *self.arguments, "--json")
        promise(code == 0, "errors", f"with {list(self.arguments)} and --json it ends with {code}: {said}")
        try:
            json.loads(out, parse_constant=_no_constant)
        except ValueError as exc:
            raise AssertionError(f"[errors] with --json it writes {out!r}, which is no JSON: {exc}") from exc

    def test_a_mistake_in_its_use_ends_with_2(self, command: Any) -> None:
        """An unknown option is told of on standard error, and nothing is written to standard output."""
        code, out, said = _called(command, "--no-such-option")
        promise(code == _USAGE, "errors", f"an unknown option ends with {code} in place of {_USAGE}")
        promise(not out, "errors", f"an unknown option writes {out!r} to standard output")
        promise("no-such-option" in said, "errors", f"the message does not name the unknown option: {said!r}")


def _called(command: Any, *arguments: str) -> tuple[int, str, str]:
    """Call a command as a process of its own would, and return its exit code and what it wrote."""
    out, said = _Stream(), _Stream()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            command.main(args=list(arguments), prog_name="crystallize")
        except SystemExit as exc:
            code = exc.code
    return (0 if code is None else code if isinstance(code, int) else 1), out.text(), said.text()


class _Stream(io.TextIOWrapper):
    """A stream that keeps what is written to it, as text or as bytes."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)

    def text(self) -> str:
        self.flush()
        written: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]
        return written.decode("utf-8")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not strict JSON")

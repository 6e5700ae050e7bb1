"""The way in: ``crystallize`` and ``python -m crystallize_cli``."""

from __future__ import annotations

import sys

from crystallize_cli import __version__

_NOT_WRITTEN = 3
"""`ExitCode.INTERNAL`, which is defined beside what needs click."""


def main() -> int:
    """Run the command line and give its exit code.

    Returns
    -------
    int
        See `crystallize_cli.exits.ExitCode`.
    """
    from crystallize_cli.streams import lost_output, open_standard_streams

    open_standard_streams()
    code = _run()
    lost = lost_output()
    if lost is None:
        return code
    sys.stderr.write(f"crystallize: cannot write to standard output: {lost}\n")
    return code or _NOT_WRITTEN


def _run() -> int:
    if sys.argv[1:] == ["--version"]:
        # Scripts and prompts ask for it often: not even click is imported.
        sys.stdout.write(f"crystallize {__version__}\n")
        return 0
    from crystallize_cli.main import run

    return run(sys.argv[1:], exits=True)


if __name__ == "__main__":
    sys.exit(main())

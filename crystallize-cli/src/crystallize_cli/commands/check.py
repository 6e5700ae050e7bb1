"""``crystallize check``: whether every experiment below a folder can be run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.folders import CONFIG, find_folders
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_cli.output import Output

__all__ = ["check"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@with_output
def check(paths: tuple[Path, ...], output: Output) -> int:
    """Load every experiment below PATHS and say all that is wrong, with file, line and column.

    PATHS are folders, config.yaml files and Python files; by default the current folder. Their modules are imported,
    and no cell runs.
    """
    found = [each for path in paths or (Path(),) for each in _experiments(path)]
    if not found:
        raise Failure("there is no experiment to check. `crystallize new NAME` makes one", ExitCode.NOTHING)
    checked = list(_checked(found))
    problems = [problem for _, each in checked for problem in each]
    rows = [{"experiment": str(path), "problems": each} for path, each in checked]
    output.data(rows, lambda: "\n".join(problem["text"] for problem in problems))
    total = len(problems)
    output.say(f"{len(rows)} {_plural('experiment', len(rows))} checked, {total} {_plural('problem', total)}")
    return ExitCode.USAGE if total else ExitCode.DONE


def _experiments(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = list(find_folders(path))
        yield from found
        if (path / CONFIG).is_file() and path not in found:
            yield path  # it was asked for by name
    elif path.exists():
        yield path
    else:
        raise Failure(f"there is no file or folder {path}", ExitCode.NOTHING)


def _checked(paths: list[Path]) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    known: dict[Path, Any] = {}
    for path in dict.fromkeys(paths):
        yield path, _problems(path, known)


def _problems(path: Path, known: dict[Path, Any]) -> list[dict[str, Any]]:
    """Give what is wrong with one experiment; folders that several read from are loaded once."""
    from crystallize.errors import ConfigurationError, CrystallizeError

    try:
        if path.suffix == ".py":
            from crystallize_cli.loading import load_experiment

            load_experiment(path).validate()
        else:
            from crystallize.config import load_folder

            load_folder(path, known=known)
    except ConfigurationError as error:
        if error.problems:
            return [
                {
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                    "advice": problem.advice,
                    "text": str(problem),
                }
                for problem in error.problems
            ]
        return [_unplaced(path, error)]
    except (CrystallizeError, Failure) as error:
        return [_unplaced(path, error)]
    return []


def _unplaced(path: Path, error: Exception) -> dict[str, Any]:
    text = getattr(error, "message", None) or str(error)
    return {"file": str(path), "line": None, "column": None, "message": text, "advice": "", "text": f"{path}: {text}"}


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"

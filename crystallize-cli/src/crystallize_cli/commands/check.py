"""``crystallize check``: whether every experiment below a folder can be run."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.folders import CONFIG, ExperimentPath, check_path, find_experiment, find_folders
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from crystallize import Experiment
    from crystallize_cli.output import Output

__all__ = ["check"]


@click.command()
@click.argument("paths", nargs=-1, type=ExperimentPath())
@click.option("--no-code", is_flag=True, help="Look at config.yaml alone: import no module.")
@click.option(
    "--stdin",
    "unsaved",
    is_flag=True,
    help="Look at the text on standard input in place of what the file of the one PATH holds; implies --no-code.",
)
@with_output
def check(paths: tuple[Path, ...], no_code: bool, unsaved: bool, output: Output) -> int:
    """Load every experiment below PATHS and say all that is wrong, with file, line and column.

    PATHS are folders, config.yaml files, Python files and names that `crystallize list` shows; by default the current
    folder. Their modules are imported, unless --no-code says otherwise, and no cell runs. A key of a treatment that
    nothing reads, as far as the code shows it, is a problem, too.
    """
    if unsaved:
        if len(paths) != 1:
            raise click.UsageError("--stdin takes the text of one config.yaml: name it")
        text = sys.stdin.read()
        checked = [(paths[0], _problems(paths[0], partial(_check_text, paths[0], text)))]
    else:
        found = [each for path in paths or (Path(),) for each in _experiments(path)]
        if not found:
            raise Failure("there is no experiment to check. `crystallize new NAME` makes one", ExitCode.NOTHING)
        if no_code:
            checked = [(path, _problems(path, partial(_check_text, path))) for path in dict.fromkeys(found)]
        else:
            checked = _checked(found)
    problems = [problem for _, each in checked for problem in each]
    rows = [{"experiment": str(path), "problems": each} for path, each in checked]
    output.data(rows, lambda: "\n".join(problem["text"] for problem in problems))
    total = len(problems)
    output.say(f"{len(rows)} {_plural('experiment', len(rows))} checked, {total} {_plural('problem', total)}")
    return ExitCode.USAGE if total else ExitCode.DONE


def _experiments(path: Path) -> Iterator[Path]:
    if path.is_dir():
        check_path(path)
        found = list(find_folders(path))
        yield from found
        if (path / CONFIG).is_file() and path not in found:
            yield path  # it was asked for by name
    else:
        yield find_experiment(path)


def _checked(paths: list[Path]) -> list[tuple[Path, list[dict[str, Any]]]]:
    """Return what is wrong with each experiment; folders that several read from are loaded once."""
    known: dict[Path, Any] = {}
    loaded: dict[Path, Experiment] = {}
    found: dict[Path, list[dict[str, Any]]] = {}
    for path in dict.fromkeys(paths):
        found[path] = _problems(path, partial(_load, path, known, loaded))
    for path, experiment in loaded.items():
        found[path] += _problems(path, partial(_check_keys, experiment, loaded.values()))
    return list(found.items())


def _load(path: Path, known: dict[Path, Any], loaded: dict[Path, Experiment]) -> None:
    if path.suffix == ".py":
        from crystallize_cli.targets import load_experiment

        experiment = load_experiment(path)
        experiment.validate()
        loaded[path] = experiment
    else:
        from crystallize_plugins.config import load_folder

        loaded[path] = load_folder(path, known=known).experiment


def _check_text(path: Path, text: str | None = None) -> None:
    from crystallize.errors import ConfigurationError
    from crystallize_plugins.config import config_problems

    if path.suffix == ".py":
        return  # it is code, and nothing else
    problems = config_problems(path, text)
    if problems:
        raise ConfigurationError(f"{path} is not in order", problems=problems)


def _check_keys(experiment: Experiment, others: Collection[Experiment]) -> None:
    """Refuse a treatment's key that neither this experiment nor one that reads from it appears to read."""
    from crystallize.hooks.declarations import among, check_keys, producers

    reading = [experiment]
    for _ in others:
        reading += [each for each in others if each not in reading and set(producers(each.datasource)) & set(reading)]
    with among(reading):
        check_keys(experiment, experiment.treatments, strict=True)


def _problems(path: Path, work: Callable[[], object]) -> list[dict[str, Any]]:
    """Return what is wrong with one experiment, as far as it comes to light while something is done."""
    from crystallize.errors import ConfigurationError, CrystallizeError

    try:
        work()
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

"""Finding the experiment of a stored run again, from what the run recorded of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import ConfigurationError, ExperimentNotFoundError
from crystallize.hooks.declarations import catching_runs, definition_of
from crystallize.hooks.tools import MASK
from crystallize_plugins.artifacts.recorded import recorded_facts
from crystallize_plugins.loading import experiments_in, load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from crystallize import Experiment, Treatment
    from crystallize.hooks.declarations import Request
    from crystallize_plugins.artifacts import StoredRun

__all__ = ["FoundExperiment", "find_experiment", "find_in"]


class FoundExperiment(NamedTuple):
    """An experiment, and the treatments that it is to be run with where the script gives others than its own."""

    experiment: Experiment
    treatments: list[Treatment]


class _Reached(BaseException):
    """A script that is being loaded has come to the point where it runs an experiment.

    No `Exception`: the script must not catch it.
    """

    def __init__(self, experiment: Experiment, request: Request) -> None:
        super().__init__()
        self.experiment = experiment
        self.request = request


def find_experiment(run: StoredRun, confirm: Callable[[Path, Sequence[str]], bool] | None = None) -> FoundExperiment:
    """Find the experiment that a run was of, from what the run recorded of it.

    It is looked for in this process first. What is not there is loaded only from a path outside of the run that
    somebody has confirmed: a run that was sent by somebody could name any file.

    Parameters
    ----------
    run : StoredRun
    confirm : callable, optional
        Is given the path, and the overrides that its configuration was read with, and says whether to load it. By
        default nothing is loaded.

    Raises
    ------
    ExperimentNotFoundError
        Saying why, and what to pass.
    """
    definition = _definition(run)
    chosen = _of_this_process(run, definition)
    if chosen is not None:
        return chosen
    recorded = definition.get("config") or definition.get("file")
    if not recorded or not Path(recorded).exists():
        raise ExperimentNotFoundError(f"{_of(run)} cannot be found again: {_why(definition)}. {_ADVICE}")
    place = Path(recorded).resolve()
    _refuse_inside(place, run)
    if confirm is None or not confirm(place, definition.get("overrides", ())):
        raise ExperimentNotFoundError(
            f"{_of(run)} says that it was made by {place}, which nobody has confirmed: nothing of it was loaded. "
            f"Look at it, and {_ADVICE[0].lower()}{_ADVICE[1:]}"
        )
    return _loaded_from(place, run, definition)


def find_in(path: Path, run: StoredRun) -> FoundExperiment:
    """Find the experiment of a run in a file or folder that is said to define it.

    Parameters
    ----------
    path : Path
        A Python file, or a folder with a config.yaml.
    run : StoredRun
        Of several experiments in a file, the one of the run's name is meant.

    Raises
    ------
    ExperimentNotFoundError
        There is none.
    """
    place = path.resolve()
    _refuse_inside(place, run)
    if place.is_dir() or place.suffix in (".yaml", ".yml"):
        return _loaded_from(place, run, {"config": str(place)})
    if not place.is_file() or place.suffix != ".py":
        raise ExperimentNotFoundError(f"there is no Python file and no folder {path}. {_ADVICE}")
    recorded = _definition(run)
    # A module of a package can only be loaded as that.
    name = recorded.get("imported_as") or recorded.get("module") if recorded.get("file") == str(place) else None
    definition = {"file": str(place), "module": name or place.stem, "variables": ("experiment",), "is_given": True}
    return _of_this_process(run, definition) or _loaded_from(place, run, definition)


_ADVICE = (
    "Give the experiment itself, reproduce(run, experiment=...), "
    "or on the command line the file or folder that defines it: crystallize reproduce RUN PATH"
)


def _refuse_inside(place: Path, run: StoredRun) -> None:
    if place.is_relative_to(run.path.resolve()):
        raise ExperimentNotFoundError(
            f"{place} lies in the run's own folder, where nothing is that was there before it: code from there is not "
            f"loaded. {_ADVICE}"
        )


def _loaded_from(place: Path, run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment:
    """Load an experiment from a path that was given, or confirmed.

    A script that runs its experiments at the top level is executed up to that point and no further: nothing is run or
    stored by loading it.
    """
    try:
        found = _found(place, run, definition)
    except ConfigurationError as error:
        raise ExperimentNotFoundError(f"{_of(run)} cannot be loaded: {error}\n{_ADVICE}") from error
    if found is None:
        raise ExperimentNotFoundError(f"{_of(run)} cannot be found again: {_why(definition)}. {_ADVICE}")
    return found


def _found(place: Path, run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment | None:
    if definition.get("config"):
        from crystallize import Experiment

        overrides = definition.get("overrides") or ()
        if any(MASK in override for override in overrides):
            raise ConfigurationError(f"it was read with a secret, which is not recorded: {', '.join(overrides)}")
        return _as_it_is(Experiment.from_yaml(place, overrides=overrides))
    if place.suffix != ".py":
        return None
    reached: list[_Reached] = []

    def catch(experiment: Experiment, request: Request) -> None:
        reached.append(_Reached(experiment, request))
        raise reached[-1]

    with catching_runs(catch):
        module = _load(place, str(definition.get("imported_as") or definition.get("module") or ""))
    for stopped in reached:
        if _is_meant(stopped.experiment, run, definition) or definition.get("is_given"):
            own = stopped.request.treatments
            return FoundExperiment(stopped.experiment, list(stopped.experiment.treatments if own is None else own))
    return None if module is None else _chosen(vars(module), run, definition)


def _definition(run: StoredRun) -> dict[str, Any]:
    """Return what a run recorded of where its experiment was made: texts, and lists of texts, without zero bytes."""
    recorded = recorded_facts(run._documents).get("definition", {})
    found: dict[str, Any] = {}
    for name, value in recorded.items() if isinstance(recorded, dict) else ():
        if isinstance(value, (list, tuple)):
            found[name] = [each for each in value if isinstance(each, str)]
        elif isinstance(value, str) and "\0" not in value:
            found[name] = value
    return found


def _of_this_process(run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment | None:
    loaded = _loaded(definition)
    return None if loaded is None else _chosen(vars(loaded), run, definition)


def _loaded(definition: Mapping[str, Any]) -> ModuleType | None:
    """Return the module that defined the experiment, if this process has it."""
    module = sys.modules.get(str(definition.get("module")))
    if module is None:
        return None
    file = getattr(module, "__file__", None)
    same = file is not None and definition.get("file") == str(Path(file).absolute())
    # A notebook or a shell has no file: there, the name alone must do.
    return module if same or (file is None and definition.get("file") is None) else None


def _load(file: Path, module: str) -> ModuleType | None:
    """Load a module of a package by its name, so that its relative imports work, and anything else as a file."""
    parts = tuple(module.split("."))
    name = file.parts[:-1] if file.name == "__init__.py" else (*file.parts[:-1], file.stem)
    # A name that is not the file's would import something else.
    if len(parts) == 1 or name[-len(parts) :] != parts:
        return load_file(file, until=_Reached)
    root = Path(*name[: -len(parts)])
    if str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        return importlib.import_module(module)
    except _Reached:
        return None
    except ImportError as error:
        raise ConfigurationError(f"{module} cannot be imported: {error}") from error


def _chosen(namespace: Mapping[str, Any], run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment | None:
    """Choose among the experiments of a module: by variable, else by name."""
    found = experiments_in(namespace)
    for name in definition.get("variables", ()):
        if name in found and (found[name].name or run.experiment) == run.experiment:
            return _as_it_is(found[name])
    named = {id(each): each for each in found.values() if _is_meant(each, run, definition)}
    if not named and definition.get("is_given"):
        named = {id(each): each for each in found.values()}  # the only one that is there, whatever it is called now
    return _as_it_is(next(iter(named.values()))) if len(named) == 1 else None


def _is_meant(experiment: Experiment, run: StoredRun, definition: Mapping[str, Any]) -> bool:
    if experiment.name is not None:
        return experiment.name == run.experiment
    if experiment.id == run.experiment:
        return True
    # Without a name, its identity may have changed with its code: the place must do.
    now = definition_of(experiment)
    return bool(set(now["variables"]) & set(definition.get("variables", ())))


def _as_it_is(experiment: Experiment) -> FoundExperiment:
    return FoundExperiment(experiment, list(experiment.treatments))


def _of(run: StoredRun) -> str:
    return f"the experiment {run.experiment!r} of {run.path}"


def _why(definition: Mapping[str, Any]) -> str:
    if definition.get("is_given"):
        return f"{definition['file']} defines no experiment of that name"
    file, module, function = (definition.get(name) for name in ("file", "module", "function"))
    if not definition or module is None:
        return "the run did not record where it was made"
    if not file:
        return "it was made in a notebook or a shell, of which no file is left"
    if not Path(str(file)).is_file():
        return f"it was made in {file}, which is not there"
    inside = f", in {function}()" if function not in (None, "<module>") else ""
    return f"it was made in {file}{inside}, and loading that gives no such experiment"

"""Finding the experiment of a stored run again, from what the run recorded of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import ConfigurationError, ExperimentNotFoundError
from crystallize.hooks.declarations import catching_runs, definition_of
from crystallize.hooks.tools import MASK
from crystallize_plugins.loading import experiments_in, load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
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


def find_experiment(run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment:
    """Find the experiment that a run was of.

    It is looked for in this process first, then loaded: from the folder with its config.yaml, from its module, or from
    the file. A script that runs its experiments at the top level is executed up to that point and no further: nothing
    is run or stored by loading it.

    Parameters
    ----------
    run : StoredRun
    definition : mapping of str to object
        What the run recorded of where its experiment was made.

    Raises
    ------
    ExperimentNotFoundError
        Saying why, and what to pass.
    """
    try:
        found = _found(run, definition)
    except ConfigurationError as error:
        raise ExperimentNotFoundError(f"{_of(run)} cannot be loaded: {error}\n{_ADVICE}") from error
    if found is None:
        raise ExperimentNotFoundError(f"{_of(run)} cannot be found again: {_why(definition)}. {_ADVICE}")
    return found


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
    place = path.absolute()
    if place.is_dir() or place.suffix in (".yaml", ".yml"):
        return find_experiment(run, {"config": str(place)})
    if not place.is_file() or place.suffix != ".py":
        raise ExperimentNotFoundError(f"there is no Python file and no folder {path}. {_ADVICE}")
    definition = {"file": str(place), "module": place.stem, "variables": ("experiment",), "is_given": True}
    return find_experiment(run, definition)


_ADVICE = (
    "Give the experiment itself, reproduce(run, experiment=...), "
    "or on the command line the file or folder that defines it: crystallize reproduce RUN PATH"
)


def _found(run: StoredRun, definition: Mapping[str, Any]) -> FoundExperiment | None:
    if definition.get("config"):
        from crystallize import Experiment

        overrides = definition.get("overrides") or ()
        if any(MASK in override for override in overrides):
            raise ConfigurationError(f"it was read with a secret, which is not recorded: {', '.join(overrides)}")
        return _as_it_is(Experiment.from_yaml(definition["config"], overrides=overrides))
    loaded = _loaded(definition)
    if loaded is not None:
        chosen = _chosen(vars(loaded), run, definition)
        if chosen is not None:
            return chosen
    file = definition.get("file")
    if not file or not Path(file).is_file() or Path(file).suffix != ".py":
        return None
    reached: list[_Reached] = []

    def catch(experiment: Experiment, request: Request) -> None:
        reached.append(_Reached(experiment, request))
        raise reached[-1]

    with catching_runs(catch):
        module = _load(Path(file), str(definition.get("imported_as") or definition.get("module") or ""))
    for stopped in reached:
        if _is_meant(stopped.experiment, run, definition) or definition.get("is_given"):
            own = stopped.request.treatments
            return FoundExperiment(stopped.experiment, list(stopped.experiment.treatments if own is None else own))
    return None if module is None else _chosen(vars(module), run, definition)


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
    parts = module.split(".")
    if len(parts) == 1:
        return load_file(file, until=_Reached)
    root = file.parents[len(parts) - (file.name != "__init__.py")]
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

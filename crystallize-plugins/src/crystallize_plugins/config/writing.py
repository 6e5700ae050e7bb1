"""From an experiment to a config.yaml that gives the same experiment again."""

from __future__ import annotations

import inspect
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize import Artifact, DataSource, ExperimentInput
from crystallize.errors import ConfigurationError, PluginError
from crystallize.hooks import ActivePlugins, SeederPlugin, StorePlugin, find_plugins, load_plugin
from crystallize.hooks.declarations import MARK, BoundVerifier, VerifierFactory, as_bytes, home_of, read_bytes
from crystallize.hooks.tools import arguments_of, value_of
from crystallize_plugins.config.loading import POLICIES
from crystallize_plugins.config.parts import DEFAULTS
from crystallize_plugins.config.problems import CONFIG_FILE
from crystallize_plugins.config.reading import library
from crystallize_plugins.config.values import doubt_about, resolve
from crystallize_plugins.logging import LoggingPlugin

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import ModuleType

    from crystallize import Experiment, PipelineStep

__all__ = ["Inverse", "dump", "unwritable", "write_config"]


_DEEPEST = 40
_TEXT = "tag:yaml.org,2002:str"
_PLAIN_TYPES = (type(None), bool, int, float, str)


def unwritable(value: object, what: str, depth: int = 0) -> str | None:
    """Return what in a value YAML has no word for, or None.

    Parameters
    ----------
    value : object
        Anything.
    what : str
        What to call it.
    depth : int, default 0
        In how many others it lies.

    Examples
    --------
    >>> unwritable({"grid": [1, (2, 3)]}, "treatments.fine")
    'treatments.fine.grid.1 is a tuple'
    """
    if type(value) in _PLAIN_TYPES:
        return _odd_word(value, what)
    if type(value) is not list and type(value) is not dict:
        return f"{what} is a {type(value).__name__}"
    if depth >= _DEEPEST:
        return f"{what} is nested more than {_DEEPEST} levels deep"
    if isinstance(value, dict):
        for key in value:
            odd = f"{what} has the key {key!r:.40}, which is no text" if type(key) is not str else None
            if odd or (odd := _odd_word(key, f"a key of {what}")):
                return odd
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return next((fault for key, item in parts if (fault := unwritable(item, f"{what}.{key}", depth + 1))), None)


def _odd_word(value: object, what: str) -> str | None:
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return f"{what} is a text with half a character in it"
    if type(value) is int and abs(value) >= 10**999:
        return f"{what} is a number of too many digits"
    return None


def dump(data: Mapping[str, Any]) -> str:
    """Write a document of mappings, lists and single values down.

    Parameters
    ----------
    data : mapping
        Of what `unwritable` has no fault to find with.

    Examples
    --------
    >>> print(dump({"name": "no", "steps": ["clean", {"train": {"rate": 0.1}}]}), end="")
    name: "no"
    steps:
      - clean
      - train:
          rate: 0.1
    """
    yaml = library("yaml", "PyYAML")

    class Dumper(yaml.SafeDumper):  # type: ignore[misc,name-defined]
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            del indentless
            return super().increase_indent(flow, indentless=False)

        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    def text(dumper: Any, value: str) -> Any:
        unclear = resolve(value) != value or doubt_about(value) is not None or value == "<<"
        return dumper.represent_scalar(_TEXT, value, style='"' if unclear or not value.isprintable() else None)

    Dumper.add_representer(str, text)
    written: str = yaml.dump(
        data, Dumper=Dumper, allow_unicode=True, default_flow_style=False, sort_keys=False, width=100
    )
    return written


class Inverse:
    """Looks for the words for one experiment.

    Parameters
    ----------
    experiment : Experiment
    target : Path
        The folder that config.yaml is to lie in.

    Attributes
    ----------
    faults : list of str
        What there are no words for, after `document`.
    folder : Path or None
        Where the experiment's code lies, after `document`.
    """

    def __init__(self, experiment: Experiment, target: Path) -> None:
        self._experiment = experiment
        self._target = target.resolve()
        self.faults: list[str] = []
        self.folder: Path | None = None

    def fault(self, text: str) -> None:
        """Note something that cannot be written."""
        self.faults.append(text)

    def document(self) -> dict[str, Any]:
        """Return the document's data."""
        experiment = self._experiment
        data: dict[str, Any] = {}
        if experiment.name is not None:
            data["name"] = experiment.name
        if experiment.description is not None:
            data["description"] = experiment.description
        if experiment.initial_ctx:
            self.fault(f"initial_ctx ({', '.join(experiment.initial_ctx)}): write the values as parameters of steps")
        if experiment.strict:
            self.fault("strict=True: set it after loading")
        data["datasource"] = self._datasource(experiment.datasource)
        aliases = self._aliases()
        data["steps"] = [self._step(step, aliases) for step in experiment.pipeline.steps]
        data["outputs"] = {aliases[id(artifact)]: self._output(artifact) for artifact in experiment.outputs.values()}
        data["treatments"] = {treatment.name: self._treatment(treatment) for treatment in experiment.treatments}
        data["hypotheses"] = [self._hypothesis(hypothesis) for hypothesis in experiment.hypotheses]
        if experiment.declared_replicates is not None:
            data["replicates"] = experiment.declared_replicates
        if experiment.strategy != "rerun":
            data["strategy"] = experiment.strategy
        data.update(self._policies())
        data.update(self._plugins())
        empty = ("outputs", "treatments", "hypotheses", "plugins")
        return {key: value for key, value in data.items() if value or key not in empty}

    # -- code -------------------------------------------------------------------------------------

    def _named(self, section: str, wanted: Any, what: str, also: Any = None) -> str:
        """Return the name by which one of the folder's modules has an object, or what it was made of."""
        module = self._module_of(section, wanted if also is None else also)
        if module is not None:
            for name in (getattr(wanted, "__name__", ""), *vars(module)):
                value = vars(module).get(name)
                if value is not None and not name.startswith("_") and (value is wanted or value is also):
                    return self._in_folder(module, name, what)
        shown = getattr(wanted, "__qualname__", None) or type(wanted).__name__
        home = getattr(wanted, "__module__", None) or type(wanted).__module__
        self.fault(f"{what}: {shown} is defined in {home}, and not at the top of a {section}.py; move it there")
        return str(shown)

    def _module_of(self, section: str, wanted: Any) -> ModuleType | None:
        module = home_of(wanted)
        if module is None:
            return None
        if getattr(module, MARK, False):
            return sys.modules.get(f"{module.__name__.partition('.')[0]}.{section}")
        file = getattr(module, "__file__", None)
        return module if isinstance(file, str) and Path(file).name == f"{section}.py" else None

    def _in_folder(self, module: ModuleType, name: str, what: str) -> str:
        folder = Path(str(module.__file__)).resolve().parent
        if self.folder is None:
            self.folder = folder
        elif self.folder != folder:
            self.fault(f"{what}: {name} lies in {folder}, other parts in {self.folder}; put them into one folder")
        return name

    # -- sections ---------------------------------------------------------------------------------

    def _datasource(self, source: Any) -> dict[str, Any]:
        if not isinstance(source, ExperimentInput):
            if isinstance(source, Artifact):
                self.fault("datasource: an Artifact alone; give ExperimentInput(name=artifact)")
            return {"data": self._source(source, "datasource")}
        parts = {alias: self._source(part, f"datasource.{alias}") for alias, part in source.sources.items()}
        if len(parts) == 1 and not any(isinstance(part, Artifact) for part in source.sources.values()):
            self.fault("datasource: an ExperimentInput of one source; give the source itself")
        return parts

    def _source(self, source: DataSource, what: str) -> Any:
        if isinstance(source, Artifact):
            return self._reference(source, what)
        declared = source.declared_as()
        if declared is not None:
            return _with_params(self._named("datasources", declared.factory, what), declared.params)
        module = self._module_of("datasources", source)
        if module is not None and any(value is source for value in vars(module).values()):
            return self._named("datasources", source, what)
        return self._made("datasources", source, what)

    def _reference(self, artifact: Artifact, what: str) -> str:
        producer = artifact.producer
        config = getattr(producer, "config", None)
        if config is None:
            self.fault(f"{what}: the artifact {artifact.name!r} belongs to no experiment that was read from a folder")
            return artifact.name
        folder = Path(config) if Path(config).is_dir() else Path(config).parent
        if folder.parent != self._target.parent:
            self.fault(f"{what}: the experiment that writes {artifact.name!r} lies in {folder}, not beside the target")
        if [output.name for output in producer.outputs.values()].count(artifact.name) > 1:
            self.fault(f"{what}: several outputs of {folder.name} are files of the name {artifact.name!r}")
        return f"{folder.name}#{artifact.name}"

    def _aliases(self) -> dict[int, str]:
        """Return each output an alias: the parameter that takes it, where that is one name, else its file's name."""
        taken: dict[int, set[str]] = {}
        for step in self._experiment.pipeline.steps:
            for name, value in step.params.items():
                if isinstance(value, Artifact):
                    taken.setdefault(id(value), set()).add(name)
        aliases: dict[int, str] = {}
        for artifact in self._experiment.outputs.values():
            names = taken.get(id(artifact), set()) - set(aliases.values())
            alias = min(names) if len(names) == 1 else artifact.name
            while alias in aliases.values():
                alias += "_"  # files of one name, in folders of several steps
            aliases[id(artifact)] = alias
        return aliases

    def _step(self, step: PipelineStep, aliases: Mapping[int, str]) -> Any:
        what = f"step {step.name}"
        declared = step.declared_as()
        if declared is None:
            module = self._module_of("steps", step)
            if module is not None and any(value is step for value in vars(module).values()):
                return self._named("steps", step, what)
            return self._made("steps", step, what)
        params: dict[str, Any] = {}
        for name, value in declared.params.items():
            if not isinstance(value, Artifact):
                params[name] = value
            elif id(value) not in aliases:
                self.fault(f"{what}: the artifact {value.name!r} is not among the experiment's outputs")
            elif aliases[id(value)] != name:
                params[name] = aliases[id(value)]
        written = declared.factory or declared.function
        return _with_params(self._named("steps", written, what, declared.function), params)

    def _made(self, section: str, thing: Any, what: str) -> Any:
        """Return the words for an instance of a class: those that make an equal one."""
        kind = type(thing)
        params = dict(thing.params)
        try:
            same = value_of(kind(**params)) == value_of(thing)
        except Exception:  # noqa: BLE001 - user code; whatever it raises, this is not how it is made
            same = False
        if not same:
            self.fault(f"{what}: {kind.__name__}(**params) does not give it again; let params be what it is made with")
        return _with_params(self._named(section, kind, what), params)

    def _output(self, artifact: Artifact) -> dict[str, Any]:
        spec: dict[str, Any] = {"file_name": artifact.name}
        for key, value, default in (("loader", artifact.loader, read_bytes), ("writer", artifact.writer, as_bytes)):
            if value is not default:
                spec[key] = self._named("outputs", value, f"outputs.{artifact.name}.{key}")
        return spec

    def _treatment(self, treatment: Any) -> dict[str, Any]:
        if treatment.is_callable:
            self.fault(f"treatments.{treatment.name}: a function sets its values; list them in a mapping")
        return dict(treatment.apply_map)

    def _hypothesis(self, hypothesis: Any) -> dict[str, Any]:
        what = f"hypotheses.{hypothesis.name}"
        written = {"name": hypothesis.name, "verifier": self._verifier(hypothesis.verifier, what)}
        if hypothesis.metrics is not None:
            written["metrics"] = _as_lists(hypothesis.metrics)
        if hypothesis.correction != "holm":
            written["correction"] = hypothesis.correction
        if hypothesis.ranker is not None:
            written["ranker"] = self._named("verifiers", hypothesis.ranker, f"{what}.ranker")
        return written

    def _verifier(self, verifier: Any, what: str) -> Any:
        if not isinstance(verifier, BoundVerifier):
            return self._named("verifiers", verifier, f"{what}.verifier")
        for record in find_plugins("crystallize.verifiers"):
            if record.module.partition(".")[0] == verifier.fn.__module__.partition(".")[0]:
                try:
                    found = load_plugin(record.name, "crystallize.verifiers")
                except PluginError:
                    continue
                if isinstance(found, VerifierFactory) and found.fn is verifier.fn:
                    return _with_params(record.name, verifier.explicit)
        module = self._module_of("verifiers", verifier.fn)
        for value in vars(module).values() if module is not None else ():
            if isinstance(value, VerifierFactory) and value.fn is verifier.fn:
                return _with_params(self._named("verifiers", value, f"{what}.verifier"), verifier.explicit)
        return self._named("verifiers", verifier.fn, f"{what}.verifier")

    def _policies(self) -> dict[str, Any]:
        made = inspect.signature(type(self._experiment).__init__).parameters
        found: dict[str, Any] = {}
        for key in POLICIES:
            value = getattr(self._experiment, key, None)
            if value is not None and (key not in made or value != made[key].default):
                found[key] = value
        if getattr(self._experiment, "retry_on", (Exception,)) not in ((Exception,), Exception):
            self.fault("retry_on: exceptions have no words in YAML; give it to pipeline_step in steps.py")
        return found

    # -- plugins ----------------------------------------------------------------------------------

    def _plugins(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        plugins: dict[str, Any] = {}
        given = self._experiment.plugins
        active = ActivePlugins.resolve(given, complete=False)
        origins = {id(info.plugin): info.origin for info in active.infos}
        executors = {id(call.info.plugin) for call in active.calls("run_experiment_loop")}
        executor = next((plugin for plugin in reversed(given) if id(plugin) in executors), None)
        for plugin in given:
            origin = origins[id(plugin)]
            if origin.entry_point is None:
                self.fault(f"plugins: {origin.name} has no entry point, by which config.yaml could name it")
                continue
            settings = _changed_settings(plugin)
            if plugin is executor:
                found["execution"] = _with_params(origin.name, settings)
            elif origin.name == "seed" and set(settings) == {"seed"}:
                found["seed"] = settings["seed"]
            elif settings or origin.name not in DEFAULTS:
                plugins[origin.name] = settings or None
        kinds = {"artifacts": StorePlugin, "seed": SeederPlugin, "logging": LoggingPlugin}
        for name in DEFAULTS:
            if not any(isinstance(plugin, kinds[name]) for plugin in given):
                plugins[name] = False
        found["plugins"] = plugins
        return found


def _with_params(name: str, params: Mapping[str, Any]) -> Any:
    return {name: dict(params)} if params else name


def _as_lists(value: Any) -> Any:
    return value if isinstance(value, str) else [_as_lists(item) for item in value]


def _changed_settings(plugin: Any) -> dict[str, Any]:
    """Return the settings of a plugin that are not its defaults."""
    try:
        parameters = inspect.signature(type(plugin).__init__).parameters
    except (TypeError, ValueError):
        return dict(arguments_of(plugin))
    changed = {}
    for name, value in arguments_of(plugin).items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if type(value) is not type(default) or value != default:
            changed[name] = value
    return changed


def write_config(experiment: Experiment, path: str | os.PathLike[str]) -> Path:
    """Write an experiment down as a folder.

    Parameters
    ----------
    experiment : Experiment
        One whose functions are defined in `datasources.py`, `steps.py`, `outputs.py` and `verifiers.py` of one folder.
    path : path
        The folder, which is made where it is not there, or the file to write in it.

    Returns
    -------
    Path
        The file that was written. Where the code lies in another folder, its Python files are copied beside it.

    Raises
    ------
    ConfigurationError
        There is such a file already, whose comments would be lost, or something of the experiment cannot be written;
        the message names all of it.
    """
    target = Path(path)
    file = target if target.suffix in (".yaml", ".yml") else target / CONFIG_FILE
    if file.exists():
        raise ConfigurationError(
            f"{file} is there already, and would lose its comments. Give another folder, or remove the file"
        )
    inverse = Inverse(experiment, file.parent)
    data = inverse.document()
    for key, value in data.items():
        if fault := unwritable(value, key):
            inverse.fault(f"{fault}, which YAML has no word for")
    if inverse.faults:
        listed = "\n".join(f"  {fault}" for fault in inverse.faults)
        raise ConfigurationError(f"the experiment cannot be written as {file}:\n{listed}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if inverse.folder is not None and inverse.folder != file.parent.resolve():
        _copy_code(inverse.folder, file.parent)
    with file.open("x", encoding="utf-8") as out:
        out.write(dump(data))
    return file


def _copy_code(source: Path, target: Path) -> None:
    """Copy the Python files of a folder, packages in it too; one that is there and differs is left, and refused."""
    files = [path for path in sorted(source.rglob("*.py")) if "__pycache__" not in path.parts]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    for path in files:
        there = target / path.relative_to(source)
        if there.exists() and there.read_bytes() != path.read_bytes():
            raise ConfigurationError(
                f"{there} is there already and differs from {path}, which the experiment's functions are in. Give "
                "another folder"
            )
    for path in files:
        there = target / path.relative_to(source)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)

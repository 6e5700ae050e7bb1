"""From a folder to an experiment: read, check, run its code, name everything that is wrong at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, CrystallizeError
from crystallize.hooks.tools import check_name, did_you_mean
from crystallize_plugins.config.describing import Description, described, find_config, references_of
from crystallize_plugins.config.overrides import apply_overrides
from crystallize_plugins.config.problems import CONFIG_FILE, Problems
from crystallize_plugins.config.reading import compose, read_document
from crystallize_plugins.config.schema import check_schema
from crystallize_plugins.config.values import MapNode

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, MutableMapping

    from crystallize import Artifact, Experiment
    from crystallize_plugins.config.describing import Reference
    from crystallize_plugins.config.document import Document
    from crystallize_plugins.config.problems import Problem
    from crystallize_plugins.config.values import Node

__all__ = ["POLICIES", "LoadedExperiment", "YamlFolders", "config_problems", "load_folder"]

POLICIES = {
    "retries": "retries",
    "backoff": "backoff",
    "timeout": "time-out",
    "max_failures": "max_failures",
    "fail_fast": "fail_fast",
}
"""The keys of what to do about failures, and how errors call what each sets."""


@dataclass(frozen=True, slots=True)
class LoadedExperiment:
    """An experiment that was read from a folder, and what its config.yaml says beside it.

    Attributes
    ----------
    experiment : Experiment
    folder : Path
        The folder, absolute.
    file : Path
        Its config.yaml, absolute.
    description : Description
        Name, description and how the command line shows it.
    references : tuple of Reference
        What it reads of other experiments, in the order of `datasource`.
    producers : mapping of str to LoadedExperiment
        The experiments that it reads from, by the names of their folders.
    outputs : mapping of str to Artifact
        What it writes, by alias.
    """

    experiment: Experiment
    folder: Path
    file: Path
    description: Description
    references: tuple[Reference, ...] = ()
    producers: dict[str, LoadedExperiment] = field(default_factory=dict)
    outputs: dict[str, Artifact] = field(default_factory=dict)


def load_folder(
    path: str | os.PathLike[str],
    *,
    overrides: Iterable[str] = (),
    kind: type[Experiment] | None = None,
    known: MutableMapping[Path, LoadedExperiment] | None = None,
) -> LoadedExperiment:
    """Load the experiment of a folder, and those that it reads from.

    Parameters
    ----------
    path : path
        The folder, or its config.yaml.
    overrides : iterable of str, optional
        ``"key.path=value"``, ``"+key.path=value"``, ``"~key.path"``; see `Experiment.from_yaml`.
    kind : type, optional
        The class to make, by default `Experiment`.
    known : mutable mapping of Path to LoadedExperiment, optional
        What was loaded before, by absolute folder: an experiment that is there is used and not loaded again, and what
        is loaded is added. So the experiments of a graph that read from one share it.

    Returns
    -------
    LoadedExperiment

    Raises
    ------
    ConfigurationError
        With everything that is wrong, each with its place, as ``problems``.
    ConfigurationMissingError
        There is no such folder, or no config.yaml in it; a `FileNotFoundError` too.
    MissingExtraError
        The extra ``yaml`` of crystallize-core is not installed.

    Examples
    --------
    >>> load_folder("experiments/wines").references  # doctest: +SKIP
    ()
    """
    if isinstance(overrides, str):
        raise ArgumentTypeError(f"overrides must be a list of texts, not a text: write overrides=[{overrides!r}]")
    problems = Problems(str(path))
    loader = _Loader(problems, {} if known is None else known, kind)
    loaded = loader.load(Path(path), loader.overriding(overrides), ())
    problems.check()
    assert loaded is not None  # noqa: S101 - else there was a problem
    if known is not None:
        known.update(loader.made)
    return loaded


def config_problems(path: str | os.PathLike[str], text: str | None = None) -> list[Problem]:
    """Say what is wrong with a config.yaml as far as the file alone shows it; no code is run.

    Parameters
    ----------
    path : path
        The folder, or its config.yaml, which need not be there where there is a text.
    text : str, optional
        What to look at in place of what the file holds, such as what an editor has not saved yet.

    Returns
    -------
    list of Problem
        Of the YAML, of keys and types by the schema, and of references to folders that are not there.

    Raises
    ------
    ConfigurationMissingError
        There is no such file, and no text.
    MissingExtraError
        The extra ``yaml`` is not installed.

    Examples
    --------
    >>> text = "{datasource: {rows: rows}, steps: [fit], replicats: 3}"
    >>> [problem] = config_problems("config.yaml", text)
    >>> problem.column, "Did you mean" in problem.advice
    (42, True)
    """
    problems = Problems(str(path))
    if text is None:
        file = find_config(Path(path))
        root = read_document(file, str(file), problems)
    else:
        given = Path(path)
        file = given / CONFIG_FILE if given.is_dir() else given
        root = compose(text, str(file), problems)
    if root is not None:
        wrong = check_schema(root, problems)
        if not any(key[:1] == ("datasource",) for key in wrong):
            _check_references(root, file.absolute().parent, problems)
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _check_references(root: Node, folder: Path, problems: Problems) -> None:
    siblings = _siblings(folder)
    for reference in references_of(root):
        if reference.experiment not in siblings:
            problems.add(reference.place, *_no_such_folder(reference.experiment, folder, folder.name, siblings))


def _siblings(folder: Path) -> list[str]:
    """Return the names of the folder experiments beside a folder, with its own."""
    return sorted(found.parent.name for found in folder.parent.glob(f"*/{CONFIG_FILE}"))


def _no_such_folder(name: str, folder: Path, shown: str, siblings: list[str]) -> tuple[str, str]:
    others = [sibling for sibling in siblings if sibling != folder.name]
    advice = f"{did_you_mean(name, others)} Folders there: {', '.join(others) or 'none'}".strip()
    return f"there is no folder {name!r} with a {CONFIG_FILE} beside {shown!r}", advice


class YamlFolders:
    """What `Experiment.from_yaml` and `to_yaml` find through the entry-point group ``crystallize.configs``."""

    load_folder = staticmethod(load_folder)

    @staticmethod
    def write_config(experiment: Experiment, path: str | os.PathLike[str]) -> Path:
        """Write an experiment as a folder; see `crystallize_plugins.config.write_config`."""
        from crystallize_plugins.config.writing import write_config

        return write_config(experiment, path)


class _Loader:
    """One load, of a folder and of everything that it reads from."""

    def __init__(
        self, problems: Problems, known: MutableMapping[Path, LoadedExperiment], kind: type[Experiment] | None
    ) -> None:
        self._problems = problems
        self._known = known
        self._kind = kind
        self.made: dict[Path, LoadedExperiment] = {}
        self._refused: set[Path] = set()
        self._overrides: tuple[str, ...] = ()

    def overriding(self, overrides: Iterable[str]) -> tuple[str, ...]:
        """Take down what the folder that was asked for is read with."""
        self._overrides = tuple(map(str, overrides))
        return self._overrides

    def load(self, path: Path, overrides: tuple[str, ...], readers: tuple[Path, ...]) -> LoadedExperiment | None:
        """Load one folder; None where something is wrong with it."""
        file = find_config(path)
        folder = file.absolute().parent.resolve()
        if not overrides and folder in (both := {**self._known, **self.made}):
            return both[folder]
        if folder in self._refused:
            return None  # two that read from it: what is wrong with it is noted already
        loaded = self._read(file, folder, overrides, (*readers, folder))
        if loaded is None:
            self._refused.add(folder)
        else:
            self.made[folder] = loaded
        return loaded

    def _read(
        self, file: Path, folder: Path, overrides: tuple[str, ...], readers: tuple[Path, ...]
    ) -> LoadedExperiment | None:
        """Read a file and make what it says; None where something is wrong with it."""
        before = len(self._problems)
        root = read_document(file, str(file), self._problems)
        if root is None:
            return None
        root = apply_overrides(root, overrides, self._problems)
        wrong = check_schema(root, self._problems)
        if not isinstance(root, MapNode):
            return None
        from crystallize_plugins.config.code import FolderCode
        from crystallize_plugins.config.document import Document

        code = FolderCode(folder, str(file.parent), self._problems)
        document = Document(root, wrong, self._problems, code, str(file.parent))
        loaded = self._made(document, file, folder, readers)
        if loaded is None or len(self._problems) > before:
            code.discard()
            return None
        return loaded

    def _made(self, document: Document, file: Path, folder: Path, readers: tuple[Path, ...]) -> LoadedExperiment | None:
        """Make the experiment of a document; None where something is wrong with it."""
        before = len(self._problems)
        references = references_of(document.root) if document.usable("datasource") else ()
        producers, inputs = self._producers(references, folder, file.parent, readers)
        description = described(document.root, file)
        parts, outputs = _parts(document, description, inputs)
        if len(self._problems) > before or document.wrong:
            return None
        experiment = _experiment(document, description, parts, self._kind)
        if experiment is None:
            return None
        experiment.config = str(folder if file.name == CONFIG_FILE else folder / file.name)
        experiment.config_overrides = self._overrides if len(readers) == 1 else ()
        return LoadedExperiment(experiment, folder, folder / file.name, description, references, producers, outputs)

    def _producers(
        self, references: Iterable[Reference], folder: Path, shown: Path, readers: tuple[Path, ...]
    ) -> tuple[dict[str, LoadedExperiment], dict[str, Artifact]]:
        """Load what is read from, once each; give it by folder, and the artifacts by alias."""
        producers: dict[str, LoadedExperiment | None] = {}
        inputs: dict[str, Artifact] = {}
        for reference in references:
            name = reference.experiment
            if name not in producers:
                producers[name] = self._producer(reference, folder, shown, readers)
            producer = producers[name]
            if producer is None:
                continue
            by_file = [each for each in producer.outputs.values() if each.name == reference.output]
            artifact = producer.outputs.get(reference.output) or (by_file[0] if len(by_file) == 1 else None)
            if artifact is None:
                known = list(producer.outputs)
                advice = f"{did_you_mean(reference.output, known)} Its outputs: {', '.join(known) or 'none'}".strip()
                self._problems.add(
                    reference.place, f"the experiment {name!r} has no output {reference.output!r}", advice
                )
            else:
                inputs[reference.alias] = artifact
        return {name: producer for name, producer in producers.items() if producer is not None}, inputs

    def _producer(
        self, reference: Reference, folder: Path, shown: Path, readers: tuple[Path, ...]
    ) -> LoadedExperiment | None:
        name = reference.experiment
        siblings = _siblings(folder)
        if name not in siblings:
            self._problems.add(reference.place, *_no_such_folder(name, folder, shown.name, siblings))
            return None
        target = (folder.parent / name).resolve()
        if target in readers:
            cycle = " -> ".join([*(reader.name for reader in readers[readers.index(target) :]), name])
            self._problems.add(
                reference.place,
                f"experiments read from each other in a cycle: {cycle}",
                "Remove one of the references",
            )
            return None
        return self.load(shown.parent / name, (), readers)


def _parts(
    document: Document, description: Description, inputs: dict[str, Artifact]
) -> tuple[dict[str, Any], dict[str, Artifact]]:
    """Make everything that an experiment is made of; what is wrong is noted."""
    from crystallize_plugins.config.parts import (
        check_outputs,
        hypotheses_of,
        outputs_of,
        plugins_of,
        sources_of,
        steps_of,
        treatments_of,
    )

    if document.usable("name"):
        with document.located(document.place("name")):
            check_name(description.name, what="experiment")
    outputs = outputs_of(document)
    made = sources_of(document)
    aliases = [alias.text for alias, _ in document.section("datasource")]
    both = {**inputs, **made}
    sources = {alias: both[alias] for alias in aliases if alias in both}
    steps = steps_of(document, outputs)
    check_outputs(document, outputs, steps)
    treatments = treatments_of(document)
    hypotheses = hypotheses_of(document)
    plugins, defaults = plugins_of(document)
    parts: dict[str, Any] = {
        "sources": sources,
        "bare": len(sources) == 1 and not inputs,
        "pipeline": steps,
        "plugins": plugins,
        "default_plugins": defaults,
        "outputs": list(outputs.values()),
        "treatments": treatments,
        "hypotheses": hypotheses,
        "replicates": document.value("replicates"),
    }
    return parts, outputs


def _experiment(
    document: Document, description: Description, parts: dict[str, Any], kind: type[Experiment] | None
) -> Experiment | None:
    """Make the experiment; what only its constructor finds is noted where config.yaml begins."""
    from crystallize import Experiment, ExperimentInput, Pipeline
    from crystallize_plugins.config.document import parted

    sources, bare = parts.pop("sources"), parts.pop("bare")
    given = {key: value for key in POLICIES if (value := document.value(key)) is not None}
    try:
        datasource = next(iter(sources.values())) if bare else ExperimentInput(**sources)
        made = (kind or Experiment)(
            datasource,
            Pipeline(parts.pop("pipeline")),
            name=description.name,
            description=description.description,
            **parts,
            **given,
        )
        made.strategy = document.value("strategy") or "rerun"
        made.validate(alone=False)
    except CrystallizeError as error:
        message, advice = parted(str(error), "")
        place = next((document.place(key) for key, words in POLICIES.items() if words in message), document.root.place)
        if "time-out" in message and "process" in advice:
            advice = "Write execution: {parallel: {executor_type: process}}, or leave the time-out out"
        document.problems.add(place, message, advice, cause=error)
        return None
    return made

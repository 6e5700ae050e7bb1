"""What config.yaml says of its experiment, without running any code: for lists of many folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.errors import ConfigurationMissingError
from crystallize_plugins.config.problems import CONFIG_FILE, Problem, Problems
from crystallize_plugins.config.reading import read_document
from crystallize_plugins.config.schema import published
from crystallize_plugins.config.step_sources import DescribedStep, declared_steps
from crystallize_plugins.config.values import ListNode, MapNode, Node, ScalarNode, found

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from crystallize_plugins.config.problems import Place
    from crystallize_plugins.config.values import Node

__all__ = [
    "Cli",
    "DescribedStep",
    "Description",
    "Reference",
    "described",
    "find_config",
    "is_reference",
    "named_plugins",
    "read_description",
    "references_of",
]

STEPS_FILE = "steps.py"


class Reference(NamedTuple):
    """What one experiment reads of another: ``alias: experiment#output`` in its section ``datasource``.

    Attributes
    ----------
    alias : str
        What the data is called in the experiment that reads it.
    experiment : str
        The folder of the other experiment, beside the one that reads.
    output : str
        The alias of the output there.
    place : Place
        Where it is written.
    """

    alias: str
    experiment: str
    output: str
    place: Place


def is_reference(node: Node) -> bool:
    """Whether a value of the section ``datasource`` refers to another experiment."""
    return isinstance(node, ScalarNode) and "#" in node.text


def references_of(root: Node) -> tuple[Reference, ...]:
    """Return the references of a document, in their order."""
    section = root.get("datasource") if isinstance(root, MapNode) else None
    found: list[Reference] = []
    for alias, node in section.pairs() if isinstance(section, MapNode) else ():
        if isinstance(node, ScalarNode) and is_reference(node):
            experiment, _, output = node.text.partition("#")
            found.append(Reference(alias.text, experiment.strip(), output.strip(), node.place))
    return tuple(found)


class Cli(NamedTuple):
    """How the command line and its screens show an experiment.

    Attributes
    ----------
    group : str or None
        The heading that it is listed under.
    priority : float, default 999
        Lower numbers are listed first.
    icon, color : str or None
    hidden : bool, default False
        Whether lists leave it out.
    """

    group: str | None = None
    priority: float = 999
    icon: str | None = None
    color: str | None = None
    hidden: bool = False


class Description(NamedTuple):
    """What a config.yaml says of its experiment.

    Attributes
    ----------
    name : str
        The experiment's name; by default the folder's.
    description : str or None
    folder : Path
        The folder, as it was given.
    cli : Cli
    outputs : tuple of str
        The aliases of what it writes.
    references : tuple of (str, str, str)
        What it reads of other experiments: alias, folder, output.
    steps : tuple of DescribedStep
        In order; whether each is cacheable is read from the text of steps.py.
    treatments, hypotheses : tuple of str
        Their names.
    replicates : int, default 1
    strategy : {"rerun", "resume"} or None
        None where it is not given.
    """

    name: str
    description: str | None
    folder: Path
    cli: Cli
    outputs: tuple[str, ...]
    references: tuple[tuple[str, str, str], ...]
    steps: tuple[DescribedStep, ...] = ()
    treatments: tuple[str, ...] = ()
    hypotheses: tuple[str, ...] = ()
    replicates: int = 1
    strategy: Literal["rerun", "resume"] | None = None


def read_description(path: str | os.PathLike[str]) -> Description:
    """Read what a config.yaml says of its experiment; no module is imported, and the rest is not checked.

    Parameters
    ----------
    path : path
        The folder, or its config.yaml.

    Returns
    -------
    Description

    Raises
    ------
    ConfigurationError
        It is no YAML, or what is read of it is of the wrong type; with ``problems``.
    ConfigurationMissingError
        There is no such file.
    MissingExtraError
        The extra ``yaml`` of crystallize-core is not installed.

    Examples
    --------
    >>> read_description("experiments/wines").cli.priority  # doctest: +SKIP
    999
    """
    problems = Problems(str(path))
    file = find_config(Path(path))
    root = read_document(file, str(file), problems)
    if root is not None:
        _check_read(root, problems)
    problems.check()
    assert isinstance(root, MapNode)  # noqa: S101 - else there was a problem
    return described(root, file)


def named_plugins(path: str | os.PathLike[str]) -> set[str]:
    """Return the names under ``plugins`` in a config.yaml; what is wrong with it is said where it is loaded."""
    problems = Problems(str(path))
    file = find_config(Path(path))
    root = read_document(file, str(file), problems)
    section = root.get("plugins") if isinstance(root, MapNode) else None
    return set(section.entries) if isinstance(section, MapNode) else set()


def find_config(path: Path) -> Path:
    """Return the config.yaml that a path means: itself, or the one in a folder.

    Raises
    ------
    ConfigurationMissingError
        There is none.
    """
    if path.is_dir():
        file = path / CONFIG_FILE
        if file.is_file():
            return file
        others = sorted(other.name for other in path.glob("*.y*ml"))
        beside = f" ({', '.join(others)} is there)" if others else ""
        advice = f"Write one, or rename it to {CONFIG_FILE}" if others else "Write one, or give another folder"
        raise _missing(path, Problem(str(file), 1, 1, f"the folder has no {CONFIG_FILE}{beside}", advice))
    if not path.is_file():
        advice = f"Give a folder that has a {CONFIG_FILE}"
        raise _missing(path, Problem(str(path), 1, 1, "there is no such file or folder", advice))
    return path


def _missing(path: Path, problem: Problem) -> ConfigurationMissingError:
    # Without a line: where there is no file, there is none.
    return ConfigurationMissingError(f"{path}: {problem.message}. {problem.advice}", problems=[problem])


def described(root: MapNode, file: Path) -> Description:
    """Return what a document that was checked says of its experiment."""
    cli = root.get("cli")
    shown = {key: value for key in Cli._fields if isinstance(cli, MapNode) and (value := _scalar(cli, key)) is not None}
    outputs, treatments = root.get("outputs"), root.get("treatments")
    replicates, strategy = _scalar(root, "replicates"), _scalar(root, "strategy")
    declared = declared_steps(file.parent / STEPS_FILE)
    return Description(
        name=_scalar(root, "name") or _own_name(file.absolute().parent),
        description=_scalar(root, "description"),
        folder=file.parent,
        cli=Cli(**shown),
        outputs=tuple(outputs.entries) if isinstance(outputs, MapNode) else (),
        references=tuple(reference[:3] for reference in references_of(root)),
        steps=tuple(declared.get(name, DescribedStep(name)) for name in _names(root.get("steps"))),
        treatments=tuple(treatments.entries) if isinstance(treatments, MapNode) else (),
        hypotheses=tuple(_names(root.get("hypotheses"))),
        replicates=replicates if type(replicates) is int and replicates > 0 else 1,
        strategy=strategy if strategy in ("rerun", "resume") else None,
    )


def _names(section: Node | None) -> Iterator[str]:
    """Return what the items of a list are called: by themselves, by their one key, or by what is under ``name``."""
    for item in section.items if isinstance(section, ListNode) else ():
        if isinstance(item, ScalarNode):
            yield item.text
        elif isinstance(item, MapNode):
            named = item.get("name")
            if isinstance(named, ScalarNode):
                yield named.text
            elif len(item.entries) == 1:
                yield from item.entries


def _own_name(folder: Path) -> str:
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _scalar(node: MapNode, key: str) -> Any:
    value = node.get(key)
    return value.value if isinstance(value, ScalarNode) else None


_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}


def _check_read(root: Node, problems: Problems) -> None:
    """Check the types of what `described` reads, by the schema."""
    rules: Any = published()["properties"]
    if not isinstance(root, MapNode):
        problems.add(root.place, f"the document must be a mapping of keys to values, not {found(root)}", _START)
        return
    sections: list[tuple[MapNode, tuple[str, ...], Any, str]] = [(root, ("name", "description"), rules, "")]
    for key in ("cli", "outputs", "datasource"):
        node = root.get(key)
        if node is not None and not isinstance(node, MapNode):
            _wrong_type(problems, node, key, rules[key])
    cli = root.get("cli")
    if isinstance(cli, MapNode):
        sections.append((cli, Cli._fields, rules["cli"]["properties"], "cli."))
    for mapping, keys, named, prefix in sections:
        for key in keys:
            node = mapping.get(key)
            if node is not None and not _fits(node, named[key]["type"]):
                _wrong_type(problems, node, f"{prefix}{key}", named[key])


_START = "Write keys and values, such as `datasource: {data: load_data}`"


def _fits(node: Node, kinds: list[str]) -> bool:
    value = node.value if isinstance(node, ScalarNode) else node
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, _TYPES[kind]) for kind in kinds if kind != "null")


def _wrong_type(problems: Problems, node: Node, what: str, rule: dict[str, Any]) -> None:
    example = rule["examples"][0]
    problems.add(
        node.place,
        f"{what} must be {rule['x-expected']}, not {found(node)}",
        f"Write, for example, `{what.rpartition('.')[2]}: {example}`",
    )

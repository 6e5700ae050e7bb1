"""The sections of config.yaml, made into the parts of an experiment."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from crystallize import Artifact, DataSource, Hypothesis, Pipeline, PipelineStep, Treatment, pipeline_step
from crystallize.errors import CrystallizeError, PluginError, PluginNotFoundError, PluginSettingError
from crystallize.hooks import BASELINE, ActivePlugins, build_plugin, find_plugin, find_plugins, load_plugin
from crystallize.hooks.declarations import (
    FACTORY_MARK,
    VerifierFactory,
    as_data_source,
    as_step,
    build_own_plugin,
    signature_of,
    step_class_of,
)
from crystallize.hooks.tools import check_distinct, check_name, did_you_mean
from crystallize_plugins.config.describing import is_reference, references_of
from crystallize_plugins.config.document import Named
from crystallize_plugins.config.problems import CONFIG_FILE
from crystallize_plugins.config.values import ListNode, MapNode, ScalarNode, plain, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize_plugins.config.document import Document, Known
    from crystallize_plugins.config.problems import Place
    from crystallize_plugins.config.values import Node

__all__ = ["check_outputs", "hypotheses_of", "outputs_of", "plugins_of", "sources_of", "steps_of", "treatments_of"]


VERIFIERS = "crystallize.verifiers"
DEFAULT_VERIFIER = "paired_t"


# -- data sources ---------------------------------------------------------------------------------


def sources_of(document: Document) -> dict[str, Any]:
    """Make the functions of the section ``datasource``; references are left out."""
    made: dict[str, Any] = {}
    for alias, node in document.section("datasource"):
        if not alias.text.isidentifier():
            document.problems.add(
                alias.place,
                f"{alias.text!r} cannot be the alias of a data source",
                "Use letters, digits and underscores, as in a variable's name",
            )
        elif not is_reference(node):
            source = _source(document, document.named(node))
            if source is not None:
                made[alias.text] = source
    return made


def _source(document: Document, named: Named) -> DataSource | None:
    advice = "Decorate the function with @data_source, or derive the class from DataSource"
    found = document.function("datasources", named, "data source", _is_source, advice)

    def make() -> DataSource:
        if isinstance(found, DataSource):
            return found
        source = as_data_source(found(**named.params), what=f"the data source {named.name!r}")
        _check_parameters(document, source)
        return source

    advice = "Fix it in datasources.py, or give the parameters that it needs"
    if found is None:
        return None
    made: DataSource | None = document.called(named, "data source", make, advice, _parameters(found))
    return made


def _check_parameters(document: Document, source: DataSource) -> None:
    """Refuse a source that lacks a parameter, unless a treatment gives the baseline its values."""
    adjusted = (node for name, node in document.section("treatments") if name.text == BASELINE)
    given = {key.text.rpartition(".")[2] for node in adjusted if isinstance(node, MapNode) for key, _ in node.pairs()}
    for part, _ in source.addressed():
        for name in part.required_parameters:
            if name not in given:
                raise part.missing(name)


def _is_source(value: object) -> bool:
    if inspect.isclass(value):
        return issubclass(value, DataSource) and not inspect.isabstract(value)
    return isinstance(value, DataSource) or getattr(value, FACTORY_MARK, False) is True


def _parameters(make: Any) -> Known:
    """Return the names of the parameters that a factory takes by keyword, and whether it takes any others."""
    if isinstance(make, (DataSource, PipelineStep)):
        return [], False
    kind = step_class_of(make)
    if kind is not None:
        return [parameter.name for parameter in kind.spec.parameters], kind.spec.open_ended
    try:
        parameters = list(signature_of(make).parameters.values())
    except (TypeError, ValueError):
        return [], True
    if getattr(make, FACTORY_MARK, False):
        parameters = parameters[1:]
    kinds = {parameter.kind for parameter in parameters}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [parameter.name for parameter in parameters if parameter.kind in named]
    return names, inspect.Parameter.VAR_KEYWORD in kinds


# -- outputs and steps ----------------------------------------------------------------------------


def outputs_of(document: Document) -> dict[str, Artifact]:
    """Make the artifacts of the section ``outputs``, by alias."""
    made: dict[str, Artifact] = {}
    for alias, node in document.section("outputs"):
        spec = node if isinstance(node, MapNode) else MapNode(node.place)
        named = spec.get("file_name")
        at = alias if named is None else named
        assert isinstance(at, ScalarNode)  # noqa: S101 - by the schema
        used = {key: _used(document, spec.get(key)) for key in ("loader", "writer")}
        with document.located(at.place):
            made[alias.text] = Artifact(at.text, loader=used["loader"], writer=used["writer"])
    return made


def check_outputs(document: Document, outputs: Mapping[str, Artifact], steps: Sequence[PipelineStep]) -> None:
    """Note outputs that would be one file: two of one name that one step writes, or none."""
    from crystallize.hooks.declarations import checked_outputs

    section = document.root.get("steps")
    if steps and isinstance(section, ListNode) and len(steps) == len(section.items):
        with document.located(document.place("outputs"), "Give each output a file_name of its own"):
            checked_outputs(outputs.values(), Pipeline(steps))


def _used(document: Document, node: Node | None) -> Any:
    advice = "Name a function: writer(value) -> bytes, loader(path) -> value"
    return None if node is None else document.function("outputs", document.named(node), "function", callable, advice)


def steps_of(document: Document, outputs: Mapping[str, Artifact]) -> list[PipelineStep]:
    """Make the steps of the pipeline."""
    section = document.root.get("steps")
    if not isinstance(section, ListNode) or ("steps",) in document.wrong:
        return []
    made: list[PipelineStep] = []
    for position, node in enumerate(section.items):
        if document.usable("steps", position):
            step = _step(document, document.named(node), outputs)
            if step is not None:
                made.append(step)
    return made


def _step(document: Document, named: Named, outputs: Mapping[str, Artifact]) -> PipelineStep | None:
    def accepts(value: object) -> bool:
        return _is_step(value) or (inspect.isfunction(value) and document.code.owns(value))

    advice = "Decorate a function of (data, ctx) with @pipeline_step(), or derive a class from PipelineStep"
    found = document.function("steps", named, "step", accepts, advice)
    if found is not None and not _is_step(found):
        plain, found = found, None
        with document.located(named.place):
            found = pipeline_step()(plain)
    if found is None:
        return None
    given = _with_artifacts(document, named, found, outputs)

    def make() -> PipelineStep | None:
        if given is None:
            return None
        return as_step(found if isinstance(found, PipelineStep) else found(**given))

    advice = "Fix it in steps.py, or give the parameters that it needs"
    made: PipelineStep | None = document.called(named, "step", make, advice, _parameters(found))
    return made


def _is_step(value: object) -> bool:
    if inspect.isclass(value):
        return issubclass(value, PipelineStep) and not inspect.isabstract(value)
    return isinstance(value, PipelineStep) or step_class_of(value) is not None


def _with_artifacts(
    document: Document, named: Named, step: Any, outputs: Mapping[str, Artifact]
) -> dict[str, Any] | None:
    """Return a step's parameters with the artifacts that it takes by name; None where one is missing."""
    given = dict(named.params)
    kind = step_class_of(step)
    for parameter in kind.spec.parameters if kind is not None else ():
        if not parameter.is_artifact:
            continue
        alias = given.get(parameter.name, parameter.name)
        if isinstance(alias, str) and alias in outputs:
            given[parameter.name] = outputs[alias]
        elif parameter.required or parameter.name in given:
            # An output of that name whose entry is wrong has been complained of.
            section = document.root.get("outputs")
            if not isinstance(section, MapNode) or alias not in [name.text for name, _ in section.pairs()]:
                known = list(outputs)
                advice = (
                    f"{did_you_mean(alias, known)} Declare it under `outputs:`, as `{alias}:`. "
                    f"Outputs: {', '.join(known) or 'none'}"
                ).strip()
                place = named.keys.get(parameter.name, named.place)
                document.problems.add(
                    place, f"the step {named.name!r} writes the artifact {alias!r}, which is no output", advice
                )
            return None
    return given


# -- treatments and hypotheses --------------------------------------------------------------------


def treatments_of(document: Document) -> list[Treatment]:
    """Make the treatments."""
    made: list[Treatment] = []
    for name, node in document.section("treatments"):
        at = {key.text: key.place for key, _ in node.pairs()} if isinstance(node, MapNode) else {}
        values = value_of(node, document.problems) or {}
        wrong = next((place for key, place in at.items() if key in _DEFAULTS), name.place)
        with document.located(wrong):
            made.append(Treatment(name.text, values))
    with document.located(document.place("treatments")):
        check_distinct([treatment.name for treatment in made], what="treatment")
    return made


_DEFAULTS = ("replicate", "condition", "seed_used", "step_name")


def hypotheses_of(document: Document) -> list[Hypothesis]:
    """Make the hypotheses."""
    section = document.root.get("hypotheses")
    if not isinstance(section, ListNode) or ("hypotheses",) in document.wrong:
        return []
    made: list[Hypothesis] = []
    seen: dict[str, Place] = {}
    for position, node in enumerate(section.items):
        if not isinstance(node, MapNode) or not document.usable("hypotheses", position):
            continue
        name, metrics = node.entries["name"].value, node.get("metrics")
        assert isinstance(name, ScalarNode)  # noqa: S101 - by the schema
        if name.text in seen:
            document.problems.add(
                name.place,
                f"two hypotheses are called {name.text!r}: the first is in line {seen[name.text].line}",
                "Give each a name of its own",
            )
        seen.setdefault(name.text, name.place)
        named = node.get("verifier")
        verifier = DEFAULT_VERIFIER if named is None else _verifier(document, document.named(named))
        correction = node.get("correction")
        ranker = _ranker(document, node.get("ranker"))
        with document.located(name.place):
            check_name(name.text, what="hypothesis")
            if verifier is not None:
                listed = None if metrics is None else plain(metrics)
                with document.located(name.place if metrics is None else metrics.place):
                    settings = {} if correction is None else {"correction": str(plain(correction))}
                    made.append(Hypothesis(verifier, listed, ranker, name.text, **settings))
    inherits = bool(references_of(document.root))  # treatments come by name from what it reads from
    if section.items and not inherits and document.root.get("treatments") is None and document.usable("treatments"):
        document.problems.add(
            section.place,
            "hypotheses compare treatments with the baseline, and there is no treatment",
            "Add the section `treatments:`, or remove `hypotheses:`",
        )
    return made


def _ranker(document: Document, node: Node | None) -> Any:
    advice = "Name a function that ranks"
    return None if node is None else document.function("verifiers", document.named(node), "ranker", callable, advice)


def _verifier(document: Document, named: Named) -> Any:
    loaded = document.code.module("verifiers")
    if document.code.failed("verifiers"):
        return None
    own = {name: value for name, value in vars(loaded).items() if name[0] != "_"} if loaded is not None else {}
    if named.name in own:
        advice = "Name a function of (baseline, treatment)"
        found = document.function("verifiers", named, "verifier", callable, advice)
    else:
        found = _installed_verifier(document, named, [name for name, value in own.items() if _is_verifier(value)])
    if isinstance(found, VerifierFactory):
        factory = found
        advice = "Give the parameters that it needs"
        return document.called(named, "verifier", lambda: factory(**named.params), advice, _parameters(factory))
    if found is not None and named.params:
        advice = "Decorate the function with @verifier, so that parameters can be given"
        document.problems.add(named.place, f"the verifier {named.name!r} takes no parameters", advice)
        return None
    return found


def _is_verifier(value: object) -> bool:
    if inspect.isfunction(value):
        # The decorator is there too, since it was imported.
        return (value.__module__ or "").partition(".")[0] != "crystallize"
    return isinstance(value, VerifierFactory)


def _installed_verifier(document: Document, named: Named, own: list[str]) -> Any:
    try:
        return load_plugin(named.name, VERIFIERS)
    except PluginNotFoundError:
        installed = [record.name for record in find_plugins(VERIFIERS)]
        there = document.code.file("verifiers") is not None
        listed = f"verifiers.py has: {', '.join(own) or 'none'}" if there else "there is no verifiers.py"
        document.problems.add(
            named.place,
            f"there is no verifier {named.name!r}",
            f"{did_you_mean(named.name, [*own, *installed])} Installed: {', '.join(installed) or 'none'}; "
            f"{listed}".strip(),
        )
    except PluginError as error:
        document.problems.add(named.place, f"the verifier {named.name!r} cannot be used", str(error), cause=error)
    return None


_SEED = "seed"
DEFAULTS = ("artifacts", "seed", "logging")
"""The plugins of this distribution that are active unless they are left out."""
_LOOP = "run_experiment_loop"


def plugins_of(document: Document) -> tuple[list[Any], bool | list[str]]:
    """Make the plugins that config.yaml asks for.

    Returns
    -------
    plugins : list
        Instances, the executor last.
    defaults : bool or list of str
        What an experiment is told of the default plugins.
    """
    wanted: dict[str, Named] = {}
    left_out: dict[str, Place] = {}
    for name, node in document.section("plugins"):
        if isinstance(node, ScalarNode) and node.value is False:
            if name.text in DEFAULTS:
                left_out[name.text] = node.place
            else:
                document.problems.add(
                    node.place,
                    f"the plugin {name.text!r} is active only where it is asked for, and cannot be left out",
                    f"{did_you_mean(name.text, DEFAULTS)} Remove the line: false is for the defaults "
                    f"{', '.join(DEFAULTS)}".strip(),
                )
        else:
            keys = {key.text: key.place for key, _ in node.pairs()} if isinstance(node, MapNode) else {}
            wanted[name.text] = Named(name.text, name.place, keys, value_of(node, document.problems) or {})
    _add_seed(document, wanted, left_out)
    plugins = [_built(document, named, "plugin") for named in wanted.values()]
    plugins.append(_executor(document))
    kept = [name for name in DEFAULTS if name not in left_out]
    return [plugin for plugin in plugins if plugin is not None], kept if left_out else True


def _add_seed(document: Document, wanted: dict[str, Named], left_out: dict[str, Place]) -> None:
    seed = document.value("seed")
    if seed is None:
        return
    place = document.place("seed")
    if _SEED in left_out:
        document.problems.add(
            place,
            f"a seed is given, and the plugin that seeds is left out in line {left_out[_SEED].line}",
            "Remove one of the two",
        )
        left_out.pop(_SEED)
    given = wanted.get(_SEED, Named(_SEED, place, {}, {}))
    if given.params.get("seed", seed) != seed:
        document.problems.add(
            place,
            f"the seed is {seed} here, and {given.params['seed']} under plugins in line {given.place.line}",
            "Remove one",
        )
    wanted[_SEED] = Named(_SEED, given.place, {"seed": place, **given.keys}, {**given.params, "seed": seed})


def _executor(document: Document) -> Any:
    node = document.root.get("execution")
    if node is None or not document.usable("execution"):
        return None
    named = document.named(node)
    plugin = _built(document, named, "executor")
    if plugin is not None and not ActivePlugins.resolve([plugin], complete=False).calls(_LOOP):
        document.problems.add(
            named.place,
            f"the plugin {named.name!r} is no executor: it has no hook {_LOOP}",
            "Put it under `plugins:`. Executors of crystallize-plugins: serial, parallel, async",
        )
        return None
    return plugin


def _own_plugins(document: Document) -> dict[str, Any] | None:
    """Return what the folder's plugins.py defines, by name; None where that cannot be imported."""
    loaded = document.code.module("plugins")
    if document.code.failed("plugins"):
        return None
    return {} if loaded is None else {name: value for name, value in vars(loaded).items() if name[0] != "_"}


def _is_own(value: object) -> bool:
    """Whether a value of plugins.py may be a plugin, and not what it imports to write one."""
    module = getattr(value, "__module__", None) or ""
    return callable(value) and module.partition(".")[0] not in {"crystallize", "typing", "dataclasses"}


def _built(document: Document, named: Named, what: str) -> Any:
    name = named.name
    own = {} if name in DEFAULTS else _own_plugins(document)
    if own is None:
        return None  # What is wrong with plugins.py is noted.
    try:
        if name in own:
            return build_own_plugin(name, own[name], named.params, asked_by=CONFIG_FILE)
        find_plugin(name)
        return build_plugin((name, named.params), asked_by=CONFIG_FILE)
    except PluginNotFoundError:
        names = [record.name for record in find_plugins()]
        there = [each for each, value in own.items() if _is_own(value)]
        listed = f"; plugins.py has: {', '.join(there) or 'none'}" if document.code.file("plugins") else ""
        document.problems.add(
            named.place,
            f"no installed {what} is called {name!r}",
            f"{did_you_mean(name, [*there, *names])} Installed: {', '.join(names) or 'none'}{listed}".strip(),
        )
    except PluginSettingError as error:
        place = named.keys.get(error.setting or "", named.place)
        document.problems.add(place, f"the {what} {name!r} cannot be used", str(error), cause=error)
    except PluginError as error:
        document.problems.add(named.place, f"the {what} {name!r} cannot be used", str(error), cause=error)
    except CrystallizeError as error:
        document.problems.add(named.place, f"the {what} {name!r} does not take these settings: {error}", "Change them")
    except Exception as error:  # noqa: BLE001 - a plugin's constructor raises what it likes
        document.problems.add(
            named.place,
            f"the {what} {name!r} could not be built: {type(error).__name__}: {error}",
            "Change its settings",
        )
    return None

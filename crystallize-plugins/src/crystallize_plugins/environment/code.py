"""The code and the data of an experiment, as a run records them: digests, and the text behind them."""

from __future__ import annotations

import inspect
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import isolate
from crystallize.datasources.function import FunctionSource
from crystallize.datasources.inputs import ExperimentInput
from crystallize.fingerprint import identify
from crystallize.fingerprint._sources import code_parts
from crystallize.pipelines.identity import source_parts, step_parts
from crystallize.pipelines.step import FunctionStep
from crystallize.results.description import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.fingerprint._sources import CodePart
    from crystallize.hooks import ExperimentView

__all__ = ["LONGEST_SOURCE", "LONGEST_SOURCES", "code_facts", "data_facts"]

LONGEST_SOURCE = 64 * 1024
"""Characters of one function, class or module that are kept."""

LONGEST_SOURCES = 1024 * 1024
"""Characters of all of them together that are kept."""

_MOST_PARTS = 2000
_MOST_REMEMBERED = 64
_KEY = 16

_remembered: dict[tuple[Any, ...], dict[str, Any]] = {}


def code_facts(view: ExperimentView) -> dict[str, Any]:
    """Describe the code of an experiment: data source, steps, functions of treatments, plugins that are not neutral.

    Parameters
    ----------
    view : ExperimentView

    Returns
    -------
    dict
        ``steps``: of each its ``step``, the digest of its ``code`` and the ``name`` of its function or class;
        ``functions``: by qualified name everything of the project that the code consists of, each with ``digest``,
        ``kind``, ``file``, ``line``, and ``source``, the key of its text in ``sources`` (None where it is not at hand,
        or the file was edited since it was imported); ``values``: the globals and closure variables that the code
        refers to, with ``digest`` and a short ``value``; ``complete``: False where something was too long.
    """
    roots = list(_roots(view))
    # Digests of code take microseconds to give again; texts are looked for once for each of them.
    key = (*view.pipeline.labels, *(part for root in roots for part in (_name(root), identify(root).digest)))
    known = _remembered.get(key)
    if known is None:
        steps = [
            {"step": label, "code": step_parts(step).code.digest, "name": _name(_code(step))}
            for step, label in zip(view.pipeline.steps, view.pipeline.labels, strict=True)
        ]
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        known = _remembered[key] = {"steps": steps, **_described(code_parts(*roots))}
    return known


def data_facts(view: ExperimentView, digests: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Describe where the data comes from.

    Parameters
    ----------
    view : ExperimentView
    digests : mapping of str to str, optional
        The parts of the data source's identity, where they are known: to find them out means to read the files that
        it declares.

    Returns
    -------
    dict
        ``source`` (its name), ``params`` (described), and ``identity``: digests by part; each file that the source
        declares is one.
    """
    source = view.datasource
    if digests is None:
        digests = {name: part.digest for name, part in source_parts(source).items()}
    kept = {name: digest for name, digest in digests.items() if name.startswith("datasource")}
    params = {name: describe(value, key=name) for name, value in dict(source.params).items()}
    return {"source": getattr(source, "name", type(source).__qualname__), "params": params, "identity": kept}


def _roots(view: ExperimentView) -> Iterator[Any]:
    yield from _sources_of(view.datasource)
    for step in view.pipeline.steps:
        yield _code(step)
    for treatment in view.treatments if view.run.kind != "trial" else ():
        if treatment.is_callable:
            yield treatment._apply_value
    for plugin in view.plugins:
        if getattr(plugin, "neutral", None) is not True:
            yield type(plugin)


def _sources_of(source: Any) -> Iterator[Any]:
    if isinstance(source, ExperimentInput):
        for part in source.sources.values():
            yield from _sources_of(part)
    else:
        yield source.fn if isinstance(source, FunctionSource) else type(source)


def _code(step: Any) -> Any:
    return step.spec.fn if isinstance(step, FunctionStep) else type(step)


def _name(code: Any) -> str:
    named = code if hasattr(code, "__qualname__") else type(code)
    return f"{getattr(named, '__module__', None)}.{named.__qualname__}"


def _described(parts: Mapping[str, CodePart]) -> dict[str, Any]:
    functions: dict[str, Any] = {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    complete, left = len(parts) <= _MOST_PARTS, LONGEST_SOURCES
    for name, part in list(parts.items())[:_MOST_PARTS]:
        if part.kind == "value":
            values[name] = {"digest": part.digest, "value": isolate(_short(name, part.value))}
            continue
        key = None
        if part.text is not None:
            text = inspect.cleandoc(part.text) if part.text[:1].isspace() else part.text
            key = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY]
            if key not in sources:
                if len(text) > min(LONGEST_SOURCE, left):
                    key, complete = None, False
                else:
                    sources[key] = text
                    left -= len(text)
        functions[name] = {
            "digest": part.digest,
            "kind": part.kind,
            "file": part.file,
            "line": part.line,
            "source": key,
        }
    return {"functions": functions, "values": values, "sources": sources, "complete": complete}


def _short(name: str, value: Any) -> Any:
    return describe(value, key=name.rpartition(".")[2])

"""The code and the data of an experiment, as a run records them: digests, and the text behind them."""

from __future__ import annotations

import inspect
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from crystallize.hooks.declarations import code_parts
from crystallize.hooks.tools import describe, isolate, mask_text, value_of
from crystallize_plugins.loading import FILE_MODULE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.hooks import CellIdentities, ExperimentView
    from crystallize.hooks.declarations import CodePart

__all__ = ["LONGEST_SOURCE", "LONGEST_SOURCES", "code_facts", "data_facts"]

LONGEST_SOURCE = 64 * 1024
"""Characters of one function, class or module that are kept."""

LONGEST_SOURCES = 1024 * 1024
"""Characters of all of them together that are kept."""

_MOST_PARTS = 2000
_MOST_REMEMBERED = 64
_KEY = 16

_remembered: dict[tuple[Any, ...], dict[str, Any]] = {}


def code_facts(view: ExperimentView, identities: CellIdentities) -> dict[str, Any]:
    """Describe the code of an experiment: data source, steps, treatments, plugins that are not neutral, verifiers.

    Parameters
    ----------
    view : ExperimentView
    identities : CellIdentities
        What is known of the code already.

    Returns
    -------
    dict
        ``steps``: of each its ``step``, the digest of its ``code`` and the ``name`` of its function or class;
        ``functions``: by qualified name everything of the project that the code consists of, each with ``digest``,
        ``kind``, ``file``, ``line``, and ``source``, the key of its text in ``sources`` (None where it is not at hand,
        or the file was edited since it was imported); ``values``: the globals and closure variables that the code
        refers to, with ``digest`` and a short ``value``; ``judging``: the names of those in both that only verifiers
        and rankers refer to; ``complete``: False where something was too long.
    """
    judges = [part for each in view.hypotheses for part in (each.verifier, each.ranker) if part is not None]
    cells = list(_roots(view))
    roots = [*cells, *judges]
    # Digests of code take microseconds to give again; texts are looked for once for each of them.
    key = (*map(_name, roots), *_digests(view, identities))
    known = _remembered.get(key)
    if known is None:
        parts = identities.common_parts
        steps = [
            {"step": label, "code": parts[f"step {position} {label} code"], "name": _name(_code(step))}
            for position, (step, label) in enumerate(zip(view.pipeline.steps, view.pipeline.labels, strict=True), 1)
        ]
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        parts_of_all = code_parts(*roots)
        judging = [
            _told(name) for name in parts_of_all.keys() - (code_parts(*cells) if judges else parts_of_all).keys()
        ]
        known = _remembered[key] = {"steps": steps, **_described(parts_of_all), "judging": sorted(judging)}
    return known


def data_facts(view: ExperimentView, identities: CellIdentities) -> dict[str, Any]:
    """Describe where the data comes from.

    Parameters
    ----------
    view : ExperimentView
    identities : CellIdentities
        What is known of the data already: nothing is read again.

    Returns
    -------
    dict
        ``source`` (its name), ``params`` (described), and ``identity``: digests by part; each file that the source
        declares is one.
    """
    source = view.datasource
    kept = {name: digest for name, digest in identities.common_parts.items() if name.startswith("datasource")}
    params = {name: describe(value, key=name) for name, value in dict(source.params).items()}
    return {"source": getattr(source, "name", type(source).__qualname__), "params": params, "identity": kept}


def _digests(view: ExperimentView, identities: CellIdentities) -> Iterator[str]:
    for name, digest in identities.common_parts.items():
        if name.startswith(("datasource", "plugin ")) or (name.startswith("step ") and name.endswith(" code")):
            yield name
            yield digest
    for treatment in view.treatments if view.run.kind != "trial" else ():
        if treatment.is_callable:
            yield identities.condition(treatment.name)
    for name, digest in identities.common_parts.items():
        if name.startswith("output "):
            yield digest
    for hypothesis in view.hypotheses:
        yield from (value_of(part) for part in (hypothesis.verifier, hypothesis.ranker) if part is not None)


def _roots(view: ExperimentView) -> Iterator[Any]:
    yield from _sources_of(view.datasource)
    for step in view.pipeline.steps:
        yield _code(step)
    for treatment in view.treatments if view.run.kind != "trial" else ():
        if treatment.is_callable:
            yield treatment.applied
    for plugin in view.plugins:
        if getattr(plugin, "neutral", None) is not True:
            yield type(plugin)
    for output in view.outputs.values():
        if output.writer is not None:
            yield output.writer


def _sources_of(source: Any) -> Iterator[Any]:
    for part in source.single_sources():
        yield _code(part)
        if getattr(part, "loader", None) is not None:
            yield part.loader


def _code(part: Any) -> Any:
    """Return the function that a step or a data source was made from, or its class."""
    declared = part.declared_as()
    return type(part) if declared is None else declared.function


def _name(code: Any) -> str:
    named = code if hasattr(code, "__qualname__") else type(code)
    return _told(f"{getattr(named, '__module__', None)}.{named.__qualname__}")


def _told(name: str) -> str:
    """Return a name that is the same whether its file was run or loaded."""
    module, _, rest = name.partition(".")
    if module == "__main__":
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        return f"{_stem(file)}.{rest}" if isinstance(file, str) else name
    return name.removeprefix(FILE_MODULE) if module.startswith(FILE_MODULE) else name


@lru_cache(maxsize=4)
def _stem(file: str) -> str:
    return PurePath(file).stem


def _described(parts: Mapping[str, CodePart]) -> dict[str, Any]:
    functions: dict[str, Any] = {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    complete, left = len(parts) <= _MOST_PARTS, LONGEST_SOURCES
    for full_name, part in list(parts.items())[:_MOST_PARTS]:
        name = _told(full_name)
        if part.kind == "value":
            values[name] = {"digest": part.digest, "value": isolate(_short(name, part.value))}
            continue
        key = None
        if part.text is not None:
            text = mask_text(inspect.cleandoc(part.text) if part.text[:1].isspace() else part.text)
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

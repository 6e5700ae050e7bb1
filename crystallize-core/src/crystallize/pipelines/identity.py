"""What a step and a data source are: the parts of the one identity that resuming and the step cache compare.

Everything here is looked at anew for every call, as far as it can change: a global, a closure value or a file that
differs now gives another identity now. What cannot change, such as the normal form of code, is computed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.datasources.base import DataSource
from crystallize.datasources.function import FunctionSource
from crystallize.datasources.inputs import ExperimentInput
from crystallize.fingerprint import Identity, combine, content_of, identify
from crystallize.pipelines.step import FunctionStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.pipelines.step import PipelineStep

__all__ = ["StepParts", "source_identity", "source_parts", "step_identity", "step_parts", "without_code"]


class StepParts(NamedTuple):
    """The identity of a step in its two parts, so that what changed can be named."""

    code: Identity
    """Its code, what of the project that refers to, and its ``version``."""
    params: Identity
    """The parameters that it was made with."""


def step_identity(step: PipelineStep) -> str:
    """Give the identity of a step: its code and the project values that it refers to, its parameters, its version.

    Neither its name nor whether it is cacheable, retried or timed is part of it.

    Parameters
    ----------
    step : PipelineStep
        A step of a class that says nothing of its `params` is known by its attributes.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from crystallize import pipeline_step
    >>> @pipeline_step()
    ... def scale(data, ctx, *, factor=1):
    ...     return data * factor
    >>> step_identity(scale(factor=2)) == step_identity(scale(factor=3))
    False
    """
    return combine(*(part.digest for part in step_parts(step)))


def step_parts(step: PipelineStep) -> StepParts:
    """Give the identity of a step in its parts.

    Parameters
    ----------
    step : PipelineStep

    Returns
    -------
    StepParts
    """
    if isinstance(step, FunctionStep):
        code, params = identify(step.spec.fn), identify(step._params)
    else:
        # By what the object holds, where it names no parameters: it may still have been made with some.
        code, params = identify(type(step)), without_code(step, identify(dict(step.params) or step))
    version = getattr(step, "version", None)
    if version is not None:
        # What cannot be seen in the code is vouched for: whoever changes it gives another version.
        code = Identity(combine(code.digest, identify(version).digest))
    return StepParts(code, params)


def without_code(step: PipelineStep, identity: Identity) -> Identity:
    """Leave out of what is untracked in a step's object what its class holds, which is told of its code."""
    told = identify(type(step)).untracked
    return identity._replace(untracked=tuple(text for text in identity.untracked if text not in told))


def source_identity(source: DataSource) -> str:
    """Give the identity of a data source: its code, its parameters, and the content of the files that it declares.

    Of a source of stored files (`Artifact`, `artifact_datasource`) it says how they are read; which content they have
    differs from cell to cell.

    Parameters
    ----------
    source : DataSource

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from crystallize import data_source
    >>> @data_source
    ... def numbers(ctx, *, upto=3):
    ...     return list(range(upto))
    >>> source_identity(numbers(upto=2)) == source_identity(numbers(upto=2))
    True
    """
    return combine(*(part.digest for part in source_parts(source).values()))


def source_parts(source: DataSource) -> dict[str, Identity]:
    """Give the identity of a data source in its parts, so that what changed can be named.

    Parameters
    ----------
    source : DataSource

    Returns
    -------
    dict of str to Identity
        By ``"datasource"``, ``"datasource params"`` and ``"datasource file '…'"``; of an `ExperimentInput`
        those of each source, as ``"datasource 'name'"`` and so on.
    """
    return dict(_source_parts(source, "datasource"))


def _source_parts(source: DataSource, label: str) -> Iterator[tuple[str, Identity]]:
    if isinstance(source, ExperimentInput):
        for name, part in source.sources.items():
            yield f"{label} name {name!r}", identify(name)
            yield from _source_parts(part, f"{label} {name!r}")
        return
    if isinstance(source, (Artifact, ArtifactSource)):
        yield label, identify(_reading(source))
        return
    if isinstance(source, FunctionSource) and type(source).__fingerprint__ is FunctionSource.__fingerprint__:
        parts = {label: identify(source.fn), f"{label} params": identify(source._params)}
    elif getattr(type(source), "__fingerprint__", None) is DataSource.__fingerprint__:
        parts = {label: identify(type(source)), f"{label} params": identify(source._state())}
    else:
        parts = {label: identify(source)}
    # A source that declares what its data depends on vouches for everything else.
    vouched = getattr(source, "is_declared", False)
    for name, found in parts.items():
        yield name, Identity(found.digest) if vouched else found
    for path in getattr(source, "depends_on", ()):
        # By content alone: a file that was moved is the same data.
        yield f"{label} file {str(path)!r}", Identity(content_of(path))


def _reading(source: Artifact | ArtifactSource) -> tuple[Any, ...]:
    """Say how a stored file is read; neither the name of the experiment that wrote it, nor of its folder."""
    if isinstance(source, ArtifactSource):
        return (type(source), source.require_metadata)
    return (type(source), source.loader)

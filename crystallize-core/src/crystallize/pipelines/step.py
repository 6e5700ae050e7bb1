"""Steps: what a pipeline is made of."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, overload

from crystallize.checks import check_flag
from crystallize.context.frozen import FrozenContext, keys_of
from crystallize.context.isolation import isolate
from crystallize.datasources.base import ContextReader, Declaration
from crystallize.errors import ArgumentTypeError, MissingParameterError
from crystallize.names import check_name, step_class_name
from crystallize.pipelines.injection import MISSING, Binding, CallSpec, bind, call_injected, read_signature
from crystallize.pipelines.policy import check_policy, check_version, policy_of
from crystallize.signatures import is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.datasources.artifact import Artifact
    from crystallize.fingerprint import Identity
    from crystallize.pipelines.injection import Parameter

__all__ = ["FunctionStep", "PipelineStep", "StepFactory", "StepParts", "as_step", "pipeline_step", "step_class_of"]


class StepParts(NamedTuple):
    """The identity of a step in its two parts, so that what changed can be named.

    Neither its name nor whether it is cacheable, retried or timed is part of it.
    """

    code: Identity
    """Its code, what of the project that refers to, and its ``version``."""
    params: Identity
    """The parameters that it was made with; of a class that tells nothing of its `params`, its attributes."""


class PipelineStep(ABC):
    """One step of a pipeline, written as a class.

    Override `__call__`; override `params` so that the step's settings are recorded, and `setup` and
    `teardown` where the step needs something that lives longer than a cell.

    Examples
    --------
    >>> class Scale(PipelineStep):
    ...     def __init__(self, factor):
    ...         self.factor = factor
    ...     @property
    ...     def params(self):
    ...         return {"factor": self.factor}
    ...     def __call__(self, data, ctx):
    ...         return [value * self.factor for value in data]
    >>> Scale(2)([1, 2], ctx=None)
    [2, 4]
    """

    cacheable: bool = False
    """Whether the step's output may be stored and used again."""

    version: str | int | None = None
    """A part of the step's identity: another one makes stored results and cache entries count as outdated."""

    retries: int = 0
    """How many failures of this step in a cell are followed by another attempt at the cell."""

    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,)
    """After which exceptions."""

    backoff: float = 0.0
    """Seconds before the second attempt; the delay doubles with each further one, up to five minutes."""

    timeout: float | None = None
    """Seconds that the step may take in each attempt; None for any time."""

    _calls_function: ClassVar[bool] = False
    """Whether a function alone does the work, so that the step has no attributes that it could change in a cell."""

    @abstractmethod
    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        """Do the step's work; may be ``async def``.

        Parameters
        ----------
        data : object
            What the step before gave, or the data source.
        ctx : FrozenContext

        Returns
        -------
        object
            The data for the next step, or ``(data, metrics)`` with a mapping of metrics.
        """

    @property
    def params(self) -> Mapping[str, Any]:
        """The step's settings; they are part of its identity and of the provenance."""
        return {}

    @property
    def name(self) -> str:
        """The step's name, and that of its folder among the artifacts."""
        return type(self).__name__

    def setup(self, ctx: FrozenContext) -> None:
        """Prepare, once in each worker process, before its first cell.

        What is added to `ctx` is there in every cell of that process; it never travels, and the next
        run starts afresh. If it raises, every cell of that process fails with its error.
        """

    def teardown(self, ctx: FrozenContext) -> None:
        """Clean up, once in each worker process in which `setup` succeeded, after its last cell."""

    def declared_as(self) -> Declaration | None:
        """Return what ``@pipeline_step`` made this step from; None for one of a class."""
        return None

    def _written_name(self) -> str:
        """Return the name under which the step was written: its function's or its class's."""
        return self.name

    def _work_function(self) -> Callable[..., Any]:
        """Return the function that does the step's work."""
        return type(self).__call__

    def _is_awaited(self) -> bool:
        """Return whether the step is ``async def``."""
        return is_async(self)

    def _open_parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters for which the context is asked, since they were not given."""
        return ()

    def _context_reader(self, label: str, addresses: tuple[str, ...]) -> ContextReader:
        """Return what this step reads from the context."""
        explicit = frozenset(self.params)
        return ContextReader(
            f"step {label}", addresses, explicit=explicit, declares=False, functions=((type(self).__call__, 2),)
        )

    def _bind(
        self,
        context: Mapping[str, Any],  # noqa: ARG002 - for steps of functions
        outputs: Mapping[str, Artifact],  # noqa: ARG002
        addresses: tuple[str, ...],  # noqa: ARG002
        *,
        cell_may_address: bool,  # noqa: ARG002
    ) -> Binding:
        """Return the call of this step in a condition; see `bind`."""
        return Binding(self, wants_ctx=True, late=None, late_names=(), reads=())

    def _effective_params(self, context: Mapping[str, Any], addresses: tuple[str, ...] = ()) -> dict[str, Any]:  # noqa: ARG002
        """Return the parameters with which the step runs in a condition, as far as they are known beforehand."""
        try:
            return dict(self.params)
        except Exception as exc:  # noqa: BLE001 - checked before the run; results are not lost to what changed since
            return {"params": f"<could not be read: {type(exc).__name__}>"}

    def _identity_parts(self) -> StepParts:
        """Return the identity of this step in its parts."""
        from crystallize.fingerprint import identify

        # By what the object holds, where it names no parameters: it may still have been made with some.
        params = self._without_code(identify(dict(self.params) or self))
        return StepParts(self._with_version(identify(type(self))), params)

    def _visible_identities(self, unsaid: Callable[[Any], Any]) -> list[Identity]:
        """Return the identity of what the step can see of itself beside its code and its parameters.

        Parameters
        ----------
        unsaid : callable of object
            Returns what equality does not tell of a value.
        """
        from crystallize.fingerprint import identify

        attributes = getattr(self, "__dict__", {})
        said = [(name, unsaid(value)) for name, value in sorted(attributes.items())]
        return [self._without_code(identify(self)), identify(said)]

    def _without_code(self, identity: Identity) -> Identity:
        """Leave out of what is untracked in this object what its class holds, which is told of its code."""
        from crystallize.fingerprint import identify

        told = identify(type(self)).untracked
        return identity._replace(untracked=tuple(text for text in identity.untracked if text not in told))

    def _with_version(self, code: Identity) -> Identity:
        from crystallize.fingerprint import Identity, combine, value_of

        if self.version is None:
            return code
        # What cannot be seen in the code is vouched for: whoever changes it gives another version.
        return Identity(combine(code.digest, value_of(self.version)))


class FunctionStep(PipelineStep):
    """A step made of a function; each decorated function has a subclass of its own."""

    spec: ClassVar[CallSpec]
    _calls_function = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._calls_function = cls.__call__ is FunctionStep.__call__  # a subclass may have a call of its own

    def __init__(self, factory: StepFactory | None, explicit: Mapping[str, Any]) -> None:
        self._factory = factory
        self._params = self.spec.checked(explicit)

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that were given when the step was made."""
        return isolate(self._params)

    def __call__(self, data: Any, ctx: Any = MISSING) -> Any:
        """Run the function with its parameters filled in; a coroutine where it is ``async def``.

        The context may be left out where the function takes none.
        """
        if ctx is MISSING:
            if self.spec.ctx != "none":
                raise MissingParameterError(
                    f"the step {self.spec.name} takes a context: call it as step(data, ctx), and standalone_context() "
                    "makes one"
                )
            ctx = FrozenContext()
        return call_injected(self.spec, self._params, data, ctx, (self.name, self.spec.name))

    def declared_as(self) -> Declaration:
        """Return the function, its factory, and the parameters that this step was made with."""
        return Declaration(self.spec.fn, self._factory, self._params)

    def _written_name(self) -> str:
        return self.spec.name

    def _work_function(self) -> Callable[..., Any]:
        return self.spec.fn if self._calls_function else super()._work_function()

    def _is_awaited(self) -> bool:
        return self.spec.is_async

    def _open_parameters(self) -> tuple[Parameter, ...]:
        if not self._calls_function:
            return ()
        return tuple(each for each in self.spec.parameters if each.name not in self._params)

    def _context_reader(self, label: str, addresses: tuple[str, ...]) -> ContextReader:
        if not self._calls_function:
            return super()._context_reader(label, addresses)
        names = frozenset(parameter.name for parameter in self.spec.parameters)
        free = frozenset(parameter.name for parameter in self._open_parameters())
        functions = ((self.spec.fn, 2),) if self.spec.ctx != "none" else ()
        return ContextReader(f"step {label}", addresses, free, names - free, functions=functions)

    def _bind(
        self,
        context: Mapping[str, Any],
        outputs: Mapping[str, Artifact],
        addresses: tuple[str, ...],
        *,
        cell_may_address: bool,
    ) -> Binding:
        if not self._calls_function:
            return super()._bind(context, outputs, addresses, cell_may_address=cell_may_address)
        return bind(self.spec, self._params, context, outputs, addresses, cell_may_address=cell_may_address)

    def _effective_params(self, context: Mapping[str, Any], addresses: tuple[str, ...] = ()) -> dict[str, Any]:
        values = dict(self._params)
        for parameter in self._open_parameters():
            key = next((key for key in keys_of(parameter.name, addresses) if key in context), None)
            if key is not None:
                values[parameter.name] = context[key]
            elif not parameter.required:
                values[parameter.name] = parameter.default
        return values

    def _identity_parts(self) -> StepParts:
        from crystallize.fingerprint import identify

        code = identify(self.spec.fn) if self._calls_function else identify(type(self))
        return StepParts(self._with_version(code), identify(self._params))

    def _visible_identities(self, unsaid: Callable[[Any], Any]) -> list[Identity]:
        from crystallize.fingerprint import identify

        if not self._calls_function:
            return super()._visible_identities(unsaid)
        return [identify([(name, unsaid(value)) for name, value in sorted(self._params.items())])]

    def __reduce__(self) -> tuple[Any, ...]:
        # By the factory's name where it has one that can be imported; cloudpickle carries the others.
        if self._factory is None:
            return as_step, (self.spec.fn,)
        return _remade, (self._factory, self._params)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._params.items())
        return f"{self.spec.name}({shown})"


def _remade(factory: Callable[..., PipelineStep], params: dict[str, Any]) -> PipelineStep:
    return factory(**params)


def _class_for(spec: CallSpec, declared: Mapping[str, Any]) -> type[FunctionStep]:
    fn = spec.fn
    namespace = {
        "__doc__": getattr(fn, "__doc__", None),
        "__module__": getattr(fn, "__module__", None) or __name__,
        "spec": spec,
        **declared,
    }
    return type(step_class_name(spec.name), (FunctionStep,), namespace)


if TYPE_CHECKING:
    from typing import Protocol

    class StepFactory(Protocol):
        """What `pipeline_step` makes of a function: called with parameters, it gives a step."""

        def __call__(self, **explicit: Any) -> PipelineStep:
            """Return a step with these parameters."""

else:
    StepFactory = object


@overload
def pipeline_step(fn: Callable[..., Any], /) -> StepFactory: ...
@overload
def pipeline_step(
    *,
    cacheable: bool = False,
    version: str | int | None = None,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float = 0.0,
    timeout: float | None = None,
) -> Callable[[Callable[..., Any]], StepFactory]: ...
@overload
def pipeline_step(
    cacheable: bool,
    /,
    *,
    version: str | int | None = None,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float = 0.0,
    timeout: float | None = None,
) -> Callable[[Callable[..., Any]], StepFactory]: ...
def pipeline_step(
    fn: Any = None,
    /,
    *,
    cacheable: bool = False,
    version: str | int | None = None,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float = 0.0,
    timeout: float | None = None,
) -> Any:
    """Make a factory of steps from a function of ``(data, ctx, ...)``.

    Parameters
    ----------
    cacheable : bool, default False
        Whether the step's output may be stored and used again.
    version : str or int, optional
        A part of the step's identity: change it where results have to be computed again although the code that
        Crystallize can see is the same.
    retries : int, default 0
        How many failures of this step in a cell are followed by another attempt. An attempt runs the whole cell again
        with the same seed, so that a late success gives what a first one would have given.
    retry_on : exception class or tuple of them, default Exception
        After which failures.
    backoff : float, default 0
        Seconds before the second attempt; the delay doubles with each further one, up to five minutes.
    timeout : float, optional
        Seconds that the step may take in each attempt. That of a plain function needs worker processes
        (``ParallelExecution(executor_type="process")``); that of an ``async def`` holds under every executor.

    Returns
    -------
    callable
        ``factory(**explicit)`` gives a step. A parameter is filled at the call by the explicit value,
        else by the context's value of that name, else by its default.

    Raises
    ------
    ArgumentTypeError
        If the function has no parameter for the data, or a setting is of the wrong type; from the factory, if a
        parameter is unknown.
    ValidationError
        If a setting has a value that makes no sense.

    Examples
    --------
    >>> from crystallize import standalone_context
    >>> @pipeline_step()
    ... def add_delta(data, ctx, *, delta=0.0):
    ...     return [value + delta for value in data]
    >>> add_delta(delta=2.0)([1], standalone_context())
    [3.0]
    >>> type(add_delta()).__name__
    'AddDeltaStep'
    """
    if isinstance(fn, bool):
        fn, cacheable = None, fn
    declared = {
        "cacheable": check_flag(cacheable, what="cacheable"),
        "version": check_version(version),
        **check_policy(retries, retry_on, backoff, timeout)._asdict(),
    }
    if fn is not None:
        return _factory(fn, declared)
    return functools.partial(_factory, declared=declared)


def _factory(fn: Callable[..., Any], declared: Mapping[str, Any]) -> StepFactory:
    kind = _class_for(read_signature(fn), declared)

    def factory(*args: Any, **explicit: Any) -> PipelineStep:
        if args:
            name = kind.spec.name
            raise ArgumentTypeError(
                f"{name}(...) makes the step, and takes parameters by name only "
                f"({', '.join(parameter.name for parameter in kind.spec.parameters) or 'it has none'}); "
                f"{name}()(data, ctx) runs it"
            )
        return kind(made, explicit)

    functools.update_wrapper(factory, fn)
    # inspect.signature would otherwise tell of the data and the context, which a step gets, not its factory.
    del factory.__wrapped__  # type: ignore[attr-defined]
    factory.step_class = kind  # type: ignore[attr-defined]
    made: StepFactory = factory
    return made


def as_step(candidate: Any, *, position: int | None = None) -> PipelineStep:
    """Make a step of what was put into a pipeline.

    Parameters
    ----------
    candidate : object
        A step, a factory of steps that was not called, a step class that needs no arguments, or any
        function of ``(data)`` or ``(data, ctx)``.
    position : int, optional
        Where it stands in the pipeline, for the message.

    Raises
    ------
    ArgumentTypeError
        If it is none of these.
    """
    if isinstance(candidate, PipelineStep):
        return _checked(candidate)
    if step_class_of(candidate) is not None:
        return candidate()  # type: ignore[no-any-return]
    place = "" if position is None else f" at position {position}"
    if inspect.isclass(candidate):
        if not issubclass(candidate, PipelineStep):
            raise ArgumentTypeError(
                f"the pipeline's step{place} is the class {candidate.__name__}, which is no PipelineStep: "
                "derive it from PipelineStep, or give a function of (data, ctx)"
            )
        try:
            return _checked(candidate())
        except TypeError as exc:
            raise ArgumentTypeError(
                f"the pipeline's step{place} is the class {candidate.__name__}, not an instance: "
                f"write {candidate.__name__}(...) ({exc})"
            ) from exc
    if not callable(candidate):
        raise ArgumentTypeError(
            f"the pipeline's step{place} is {candidate!r} ({type(candidate).__name__}), which is no step: "
            "use @pipeline_step(), a PipelineStep, or a function of (data, ctx)"
        )
    return _class_for(read_signature(candidate), {})(None, {})


def step_class_of(factory: object) -> type[FunctionStep] | None:
    """Return the class of the steps that a factory makes; None for what ``@pipeline_step`` did not make."""
    kind = getattr(factory, "step_class", None)
    # A mock has an attribute of any name.
    return kind if inspect.isclass(kind) and issubclass(kind, FunctionStep) else None


def _checked(step: PipelineStep) -> PipelineStep:
    """Refuse a step whose name cannot name a folder, that declares nonsense, or that would never be awaited."""
    check_name(step.name, what="step")
    check_version(step.version, of=f"the step {step.name}")
    policy_of(step, step.name)
    for method in ("setup", "teardown"):
        if is_async(getattr(type(step), method)):
            raise ArgumentTypeError(
                f"{method} of the step {step.name} is an async function: write a plain one, and do what has to be "
                "awaited in the step itself"
            )
    return step

"""`verifier`: statistical tests with parameters of their own, and installed ones by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from crystallize.checks import check_callable
from crystallize.discovery.loading import load_plugin
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.signatures import accepts_positional, is_async, signature_of

__all__ = [
    "VERIFIERS",
    "BoundVerifier",
    "VerifierFactory",
    "VerifierFunction",
    "check_verifier",
    "resolve_verifier",
    "verifier",
]

VERIFIERS = "crystallize.verifiers"
"""The group of entry points under whose names verifiers are installed."""

VerifierFunction = Callable[[Mapping[str, Sequence[Any]], Mapping[str, Sequence[Any]]], Mapping[str, Any]]
"""What tests a hypothesis: ``(baseline, treatment) -> mapping``, each argument a mapping of metric to values."""

_COMPARED = 2


class BoundVerifier:
    """A verifier whose parameters are set; what calling a factory gives.

    Attributes
    ----------
    fn : callable
        The function that was decorated.
    explicit : mapping of str to object
        The parameters that were given.
    params : mapping of str to object
        The parameters in effect, defaults included.
    family : bool
        Whether it compares all treatments at once: ``(baseline, {treatment: metrics})``.
    always_valid : bool
        Whether what it says holds however often one looks.
    """

    __slots__ = ("__weakref__", "always_valid", "explicit", "family", "fn", "params")

    def __init__(
        self,
        fn: Callable[..., Any],
        explicit: Mapping[str, Any],
        params: Mapping[str, Any],
        *,
        family: bool = False,
        always_valid: bool = False,
    ) -> None:
        self.fn = fn
        self.explicit = dict(explicit)
        self.params = dict(params)
        self.family = family
        self.always_valid = always_valid

    @property
    def __name__(self) -> str:
        """The name of the function that was decorated."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(
        self, baseline: Mapping[str, Sequence[Any]], treatment: Mapping[str, Sequence[Any]], /
    ) -> Mapping[str, Any]:
        """Compare two conditions."""
        outcome: Mapping[str, Any] = self.fn(baseline, treatment, **self.explicit)
        return outcome

    def __fingerprint__(self) -> object:
        """Return what it does: a setting that was given as it would have been anyway makes no other verifier."""
        return self.fn, self.params, self.family

    def __reduce__(self) -> tuple[Any, ...]:
        bound = functools.partial(BoundVerifier, family=self.family, always_valid=self.always_valid)
        return bound, (self.fn, self.explicit, self.params)

    def __repr__(self) -> str:
        return f"{self.__name__}({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


class VerifierFactory:
    """What `verifier` makes of a function: called with parameters, it gives a verifier.

    Attributes
    ----------
    fn : callable
        The function that was decorated.
    """

    def __init__(self, fn: Callable[..., Any], *, family: bool = False, always_valid: bool = False) -> None:
        check_verifier(fn, what="a function decorated with @verifier", compared_only=False)
        self.fn = fn
        self.family = family
        self.always_valid = always_valid
        self._parameters = dict(list(signature_of(fn).parameters.items())[_COMPARED:])
        self.__name__: str = getattr(fn, "__name__", type(fn).__name__)
        functools.update_wrapper(self, fn)
        # What a call takes are the parameters alone, whatever the function that was wrapped takes.
        self.__signature__ = inspect.Signature(
            [
                parameter if parameter.kind is parameter.VAR_KEYWORD else parameter.replace(kind=parameter.KEYWORD_ONLY)
                for parameter in self._parameters.values()
                if parameter.kind is not parameter.VAR_POSITIONAL
            ]
        )

    def __call__(self, *args: Any, **params: Any) -> BoundVerifier:
        """Set parameters, by name; what is left out keeps its default.

        Raises
        ------
        TypeError
            A parameter does not exist, one without a default was left out, or something was given by position.
        """
        if args:
            raise ArgumentTypeError(
                f"{self.__name__}(...) makes the verifier, and takes parameters by name only "
                f"({', '.join(self._parameters) or 'it has none'}); {self.__name__}()(baseline, treatment) compares"
            )
        named = {
            name: parameter
            for name, parameter in self._parameters.items()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        }
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._parameters.values()):
            for name in params:
                if name not in named:
                    known = ", ".join(named) or "none"
                    raise ArgumentTypeError(
                        f"verifier {self.__name__}() has no parameter {name!r}; its parameters: {known}"
                    )
        effective = {name: parameter.default for name, parameter in named.items()} | params
        missing = [name for name, value in effective.items() if value is inspect.Parameter.empty]
        if missing:
            raise ArgumentTypeError(
                f"verifier {self.__name__}() needs {', '.join(missing)}: "
                f"write {self.__name__}({', '.join(f'{name}=...' for name in missing)})"
            )
        return BoundVerifier(self.fn, params, effective, family=self.family, always_valid=self.always_valid)

    def __repr__(self) -> str:
        return f"<verifier factory {self.__name__}>"


@overload
def verifier(fn: Callable[..., Any], /) -> VerifierFactory: ...
@overload
def verifier(*, family: bool = ..., always_valid: bool = ...) -> Callable[[Callable[..., Any]], VerifierFactory]: ...
def verifier(
    fn: Callable[..., Any] | None = None, /, *, family: bool = False, always_valid: bool = False
) -> VerifierFactory | Callable[[Callable[..., Any]], VerifierFactory]:
    """Turn a function ``(baseline, treatment, *, parameters)`` into a factory of verifiers.

    Parameters
    ----------
    fn : callable
        Its first two arguments are mappings of metric to the list of values, of the baseline and of one treatment;
        the others are parameters. It returns a mapping, with ``p_value`` if treatments are to be ranked by it.
    family : bool, default False
        Whether it compares all treatments at once: its second argument is a mapping of treatment to such metrics then,
        and it returns a mapping of treatment to what it says of each. It is not corrected for their number.
    always_valid : bool, default False
        Whether what it says holds however often one looks, so that ``run(until=...)`` may stop by it: under no effect
        the probability that its p-value is ever at most alpha, after any number of replicates, is at most alpha.

    Returns
    -------
    VerifierFactory
        Called with parameters (by keyword), it gives the verifier for a `Hypothesis`.

    Raises
    ------
    TypeError
        `fn` cannot be called with two arguments, or is async.

    Examples
    --------
    >>> @verifier
    ... def higher(baseline, treatment, *, metric="accuracy", margin=0.0):
    ...     gain = sum(treatment[metric]) / len(treatment[metric]) - sum(baseline[metric]) / len(baseline[metric])
    ...     return {"gain": gain, "accepted": gain > margin}
    >>> strict = higher(margin=0.05)
    >>> strict
    higher(metric='accuracy', margin=0.05)
    >>> strict({"accuracy": [0.5]}, {"accuracy": [0.75]})
    {'gain': 0.25, 'accepted': True}
    """
    if fn is None:
        return lambda decorated: VerifierFactory(decorated, family=family, always_valid=always_valid)
    return VerifierFactory(fn, family=family, always_valid=always_valid)


def resolve_verifier(given: Any, *, what: str) -> VerifierFunction:
    """Return a verifier that can be called, from all the ways in which one is named.

    Parameters
    ----------
    given : callable, VerifierFactory, str, or tuple of str and mapping
        A function; a factory, whose defaults hold then; the name of an installed one; or its name and settings.
    what : str
        What to call it in messages.

    Raises
    ------
    PluginNotFoundError
        None of that name is installed.
    TypeError, ValueError
        It cannot be called the way it will be, or the settings are wrong.
    """
    settings: Mapping[str, Any] = {}
    if isinstance(given, tuple):
        if len(given) != _COMPARED or not isinstance(given[0], str) or not isinstance(given[1], Mapping):
            raise ArgumentTypeError(f"{what} must be a function, a name or (name, {{settings}}), not {given!r:.80}")
        given, settings = given
    if isinstance(given, str):
        if not given:
            raise ValidationError(f"{what} has no name: it is empty")
        name, given = given, load_plugin(given, VERIFIERS)
        if settings and not isinstance(given, VerifierFactory):
            raise ArgumentTypeError(f"{what}, {name!r}, takes no settings")
    resolved: VerifierFunction = given(**settings) if isinstance(given, VerifierFactory) else given
    check_verifier(resolved, what=what)
    return resolved


def check_verifier(fn: Any, *, what: str, compared_only: bool = True) -> None:
    """Refuse what cannot be called as ``fn(baseline, treatment)``."""
    check_callable(fn, what=what)
    if is_async(fn):
        raise ArgumentTypeError(f"{what} must be a plain function, not an async one: all results are there already")
    if compared_only:
        fits = accepts_positional(fn, _COMPARED)
    else:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            kinds = [parameter.kind for parameter in signature_of(fn).parameters.values()]
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(f"{what} must show its parameters, and those of {fn!r} cannot be seen") from error
        fits = len(kinds) >= _COMPARED and all(kind in positional for kind in kinds[:_COMPARED])
    if not fits:
        raise ArgumentTypeError(f"{what} must take two arguments, (baseline, treatment): mappings of metric to values")

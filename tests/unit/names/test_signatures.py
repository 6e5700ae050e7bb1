"""What a callable takes: told from what is called, through wrappers only as far as they pass arguments on."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from functools import lru_cache, partial, partialmethod, singledispatch, update_wrapper, wraps

import pytest

from crystallize.signatures import accepts_positional, is_async, signature_of


def fit(data, ctx, rate):
    return rate


async def fetch(data, ctx, rate=1):
    return rate


@wraps(fit)
def fewer(data, ctx):
    return fit(data, ctx, rate=0.5)


@wraps(fit)
def more(data, ctx, rate, depth=2):
    return fit(data, ctx, rate * depth)


@wraps(fit)
def open_to_all(*args, **kwargs):
    return fit(*args, **kwargs)


@wraps(fit)
def first_named(data, *args, **kwargs):
    return fit(data, *args, **kwargs)


@wraps(fit)
def first_renamed(x, *args, **kwargs):
    return fit(x, *args, **kwargs)


@wraps(fit)
def two_renamed(x, y, *args, **kwargs):
    return fit(x, y, *args, **kwargs)


@wraps(fit)
def open_by_name(data, ctx, **kwargs):
    return fit(data, ctx, **kwargs)


@wraps(fit)
def other_default(data, ctx, *, rate=0.5, **kwargs):
    return fit(data, ctx, rate=rate, **kwargs)


def fit_with_letters(data, ctx, a, *, k=2):
    return a or k


@wraps(fit_with_letters)
def open_by_letters(*a, **k):
    return fit_with_letters(*a, **k)


@wraps(fit)
def open_by_position(*args):
    return fit(*args)


@wraps(fit)
def one_more(data, ctx, verbose=False, *args, **kwargs):
    return fit(data, ctx, *args, **kwargs)


@wraps(fit)
def model_first(model, data, ctx, *args, **kwargs):
    return fit(data, ctx, *args, **kwargs)


@wraps(fit)
def optional_first(data=None, *args, **kwargs):
    return fit(data, *args, **kwargs)


@wraps(open_to_all)
def open_twice(*args, **kwargs):
    return open_to_all(*args, **kwargs)


@wraps(fewer)
def open_around_fewer(*args, **kwargs):
    return fewer(*args, **kwargs)


@wraps(fetch)
def awaits_itself(*args, **kwargs):
    return None


class Around:
    def __init__(self, fn):
        update_wrapper(self, fn)

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)


class Settles(Around):
    def __call__(self, data, ctx):
        return self.__wrapped__(data, ctx, rate=0.5)


class Awaited(Around):
    async def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)


class Model:
    def fit(self, data, ctx, rate=1):
        return rate

    quick = partialmethod(fit, rate=7)

    @staticmethod
    def apart(data, ctx):
        return data

    @classmethod
    def of_class(cls, data, ctx):
        return data

    @wraps(fit)
    def logged(self, *args, **kwargs):
        return self.fit(*args, **kwargs)

    @lru_cache  # noqa: B019 - what it takes is looked at, and it is never called
    def remembered(self, data, ctx):
        return data


class CallsPartial:
    __call__ = partialmethod(Model.fit, rate=3)


class CallsStatic:
    __call__ = staticmethod(fit)


class CallsObject:
    __call__ = Around(fit)


def declared(*args, **kwargs):
    return None


declared.__signature__ = inspect.signature(lambda z: None)


@wraps(declared)
def around_declared(*args, **kwargs):
    return None


@wraps(declared)
def closed_around_declared(data, ctx):
    return None


SIGNATURES = {
    "a wrapper of fewer parameters": (fewer, "(data, ctx)"),
    "a wrapper of more parameters": (more, "(data, ctx, rate, depth=2)"),
    "a wrapper that passes everything on": (open_to_all, "(data, ctx, rate)"),
    "the first one named": (first_named, "(data, ctx, rate)"),
    "the first one by another name": (first_renamed, "(x, ctx, rate)"),
    "two by other names": (two_renamed, "(x, y, rate)"),
    "open by name alone": (open_by_name, "(data, ctx, *, rate)"),
    "a default of its own": (other_default, "(data, ctx, *, rate=0.5)"),
    "open by position alone": (open_by_position, "(data, ctx, rate, /)"),
    "one parameter more": (one_more, "(data, ctx, verbose=False, *, rate)"),
    "one parameter before": (model_first, "(model, data, ctx, rate)"),
    "a default before what has none": (optional_first, "(data=None, *, ctx, rate)"),
    "two open wrappers": (open_twice, "(data, ctx, rate)"),
    "an open wrapper of a closed one": (open_around_fewer, "(data, ctx)"),
    "a partial": (partial(fit, rate=2), "(data, ctx, *, rate=2)"),
    "a partial that claims to wrap": (update_wrapper(partial(fit, rate=2), fit), "(data, ctx, *, rate=2)"),
    "a partial by position that claims to wrap": (update_wrapper(partial(fit, 1), fit), "(ctx, rate)"),
    "a partial of an open wrapper": (partial(open_to_all, rate=3), "(data, ctx, *, rate=3)"),
    "a partial of a closed wrapper": (partial(fewer, 1), "(ctx)"),
    "an object around a function": (Around(fit), "(data, ctx, rate)"),
    "an object that settles a parameter": (Settles(fit), "(data, ctx)"),
    "an object around an object": (Around(Settles(fit)), "(data, ctx)"),
    "a bound method": (Model().fit, "(data, ctx, rate=1)"),
    "a partial method": (Model().quick, "(data, ctx, *, rate=7)"),
    "a static method": (Model().apart, "(data, ctx)"),
    "a static method's descriptor": (vars(Model)["apart"], "(data, ctx)"),
    "a class method": (Model().of_class, "(data, ctx)"),
    "a cached method": (partial(Model.remembered, None), "(data, ctx)"),
    "a call that is a partial method": (CallsPartial(), "(data, ctx, *, rate=3)"),
    "a call that is a static method": (CallsStatic(), "(data, ctx, rate)"),
    "a call that is an object": (CallsObject(), "(data, ctx, rate)"),
    "an open wrapper with names of what it wraps": (open_by_letters, "(data, ctx, a, *, k=2)"),
    "lru_cache": (lru_cache(fit), "(data, ctx, rate)"),
    "singledispatch": (singledispatch(fit), "(data, ctx, rate)"),
    "contextmanager": (contextmanager(fit), "(data, ctx, rate)"),
    "a declared signature": (declared, "(z)"),
    "an open wrapper of a declared signature": (around_declared, "(z)"),
    "a closed wrapper with a copy of a declared signature": (closed_around_declared, "(data, ctx)"),
    "a builtin": (len, "(obj, /)"),
}


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_signature_is_that_of_what_is_called(kind):
    fn, expected = SIGNATURES[kind]
    assert str(signature_of(fn)) == expected


@pytest.mark.parametrize("kind", SIGNATURES)
def test_what_a_signature_promises_can_be_called(kind):
    """All of these return without caring for their arguments, so that only a wrong signature raises."""
    fn, expected = SIGNATURES[kind]
    if expected in ("(obj, /)", "(model, data, ctx, rate)") or "declared" in kind:
        pytest.skip("its body does not go with arguments that are made up")
    by_position, by_name = [], {}
    for parameter in signature_of(fn).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            by_name[parameter.name] = 1
        else:
            by_position.append(1)
    result = fn(*by_position, **by_name)
    assert result is not None


@pytest.mark.parametrize("fn", [max, int])
def test_where_nothing_tells_the_signature_any_number_of_arguments_is_accepted(fn):
    assert accepts_positional(fn, 5)
    with pytest.raises((TypeError, ValueError)):
        signature_of(fn)


def test_what_wraps_itself_has_its_own_signature():
    def around(*args, **kwargs):
        return None

    around.__wrapped__ = around
    assert str(signature_of(around)) == "(*args, **kwargs)"


@pytest.mark.parametrize(
    "fn, expected",
    [
        (fetch, True),
        (partial(fetch, rate=2), True),
        (update_wrapper(partial(fetch, rate=2), fit), True),
        (Awaited(fit), True),
        (Awaited(fit).__call__, True),
        (partial(Awaited(fit), 1), True),
        (lru_cache(fetch), True),
        (awaits_itself, False),
        (Around(fetch), False),
        (fit, False),
        (open_to_all, False),
        (len, False),
        (Model, False),
    ],
)
def test_async_is_what_gives_something_to_await_when_it_is_called(fn, expected):
    assert is_async(fn) is expected

"""Pairs of functions and of what is called like one."""

from __future__ import annotations

import pairs_values
from pairs import differ, equal

__all__ = ["NAMES", "PAIRS"]

NAMES = vars(pairs_values)

PAIRS = [
    differ("partial with update_wrapper", "named(1)", "named(2)"),
    differ("class decorator with update_wrapper", "Clip(power, 1)", "Clip(power, 2)"),
    differ("class decorator of another function", "Clip(power, 1)", "Clip(abs, 1)"),
    differ("class decorator with slots", "Slotted(power, 1)", "Slotted(power, 2)"),
    differ("class decorator with a reducer", "Reducing(power, 1)", "Reducing(power, 2)"),
    differ("class decorators in each other", "Clip(Clip(power, 1), 5)", "Clip(Clip(power, 2), 5)"),
    differ(
        "partial of a class decorator",
        "functools.partial(Clip(power, 1), k=1)",
        "functools.partial(Clip(power, 2), k=1)",
    ),
    differ(
        "partial of a partial",
        "functools.partial(functools.partial(power, 2), k=1)",
        "functools.partial(functools.partial(power, 3), k=1)",
    ),
    differ(
        "partial with attributes",
        "with_attributes(functools.partial(power), mark=1)",
        "with_attributes(functools.partial(power), mark=2)",
    ),
    differ("bound method of objects that differ", "Clip(power, 1).__call__", "Clip(power, 2).__call__"),
    differ("partialmethod", "functools.partialmethod(power, k=1)", "functools.partialmethod(power, k=2)"),
    equal(
        "lru_cache of another size",
        "functools.lru_cache(4)(power)",
        "functools.lru_cache(8, typed=True)(power)",
        travels=False,
    ),
    equal(
        "lru_cache that was used", "functools.lru_cache(power)", "used(functools.lru_cache(power), 2)", travels=False
    ),
    differ(
        "lru_cache of another function", "functools.lru_cache(power)", "functools.lru_cache(scorer())", travels=False
    ),
    differ(
        "lru_cache of wrappers with state",
        "functools.cache(Clip(power, 1))",
        "functools.cache(Clip(power, 2))",
        travels=False,
    ),
    differ(
        "lru_cache with attributes",
        "with_attributes(functools.cache(power), unit='m')",
        "with_attributes(functools.cache(power), unit='km')",
        travels=False,
    ),
    differ("attribute of a function", "scorer(greater_is_better=True)", "scorer(greater_is_better=False)"),
    differ("attribute of a function that is there or not", "scorer(greater_is_better=True)", "scorer()"),
    differ(
        "attribute of a function that a library made",
        "wrapper(power, sign=1)",
        "wrapper(power, sign=-1)",
        travels=False,
    ),
    differ("implementation that was registered", "registered(1)", "registered(2)", travels=False),
    equal("singledispatch that was used", "registered(1)", "used(registered(1), 5)", travels=False),
    differ(
        "ufunc of a function", "np.frompyfunc(lambda x: x, 1, 1)", "np.frompyfunc(lambda x: 2 * x, 1, 1)", travels=False
    ),
    differ("ufunc with more outputs", "np.frompyfunc(power, 1, 1)", "np.frompyfunc(power, 2, 1)", travels=False),
    differ("ufuncs of NumPy", "np.add", "np.subtract"),
    differ("ufuncs of one name in two libraries", "np.log1p", "scipy.special.log1p"),
    differ("vectorized function", "np.vectorize(lambda x: x)", "np.vectorize(lambda x: 2 * x)"),
    differ(
        "vectorized function with other output types",
        "np.vectorize(power, otypes='d')",
        "np.vectorize(power, otypes='l')",
    ),
    equal("vectorized function that was used", "np.vectorize(power)", "used(np.vectorize(power), [1, 2])"),
    differ(
        "function that joblib remembers, with ignore",
        "joblib.Memory('m', verbose=0).cache(power, ignore=['k'])",
        "joblib.Memory('m', verbose=0).cache(power)",
    ),
    equal(
        "function that joblib remembers, used",
        "joblib.Memory('m', verbose=0).cache(power)",
        "used(joblib.Memory('m', verbose=0).cache(power), 2)",
    ),
    differ("jitted function with options", "jitted(numba, fastmath=True)", "jitted(numba)"),
    differ(
        "jitted function with error model", "jitted(numba, error_model='numpy')", "jitted(numba, error_model='python')"
    ),
    equal("jitted function that was used", "jitted(numba)", "used(jitted(numba), 1.0)", travels=False),
    differ("vectorized by Numba", "numba.vectorize(lambda x: x)", "numba.vectorize(lambda x: 2 * x)", travels=False),
    differ(
        "callback of Numba",
        "numba.cfunc('f8(f8)')(lambda x: x)",
        "numba.cfunc('f8(f8)')(lambda x: 2 * x)",
        travels=False,
    ),
    equal("function that sorts by another one", "functools.cmp_to_key(power)", untracked=True, travels=False),
    differ("function in a wrapper of wrapt", "decorated(wrapt, 1)", "decorated(wrapt, 2)", travels=False),
    differ("proxy of wrapt with an attribute", "proxy(wrapt, 1)", "proxy(wrapt, 2)", travels=False),
    differ("proxy of wrapt of another object", "wrapt.ObjectProxy([1])", "wrapt.ObjectProxy([2])", travels=False),
    equal("function compiled by PyTorch", "torch.compile(power)", travels=False),
    differ(
        "how PyTorch compiles a function",
        "torch.compile(power)",
        "torch.compile(power, backend='eager')",
        travels=False,
    ),
    differ(
        "how PyTorch compiles a layer",
        "torch.compile(torch.nn.ReLU())",
        "torch.compile(torch.nn.ReLU(), dynamic=True)",
        travels=False,
    ),
    differ("function compiled by JAX", "jax.jit(power)", "jax.jit(power, static_argnums=1)", travels=False),
    equal("function compiled by JAX that was used", "jax.jit(power)", "used(jax.jit(power), 2.0)", travels=False),
    differ("functions compiled by PyTorch", "torch.compile(power)", "torch.compile(scorer())", travels=False),
]

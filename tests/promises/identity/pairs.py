"""Pairs of things, and whether they have one identity; run as a program, it says what their identities are."""

from __future__ import annotations

import importlib
import json
import re
import sys
import traceback
from typing import NamedTuple

import cloudpickle

from crystallize.fingerprint import identify

# What expressions call a module. Those that are not installed are left out, with their pairs.
ALIASES = {
    "array": "array",
    "contextvars": "contextvars",
    "decimal": "decimal",
    "dt": "datetime",
    "fractions": "fractions",
    "io": "io",
    "operator": "operator",
    "random": "random",
    "re": "re",
    "types": "types",
    "uuid": "uuid",
    "weakref": "weakref",
    "zoneinfo": "zoneinfo",
    "astropy": "astropy.units",
    "dtypes": "numpy.dtypes",
    "joblib": "joblib",
    "jax": "jax",
    "jnp": "jax.numpy",
    "numba": "numba",
    "np": "numpy",
    "optuna": "optuna",
    "pa": "pyarrow",
    "pd": "pandas",
    "pint": "pint",
    "pl": "polars",
    "scipy": "scipy.special",
    "sklearn": "sklearn.linear_model",
    "sp": "scipy.sparse",
    "sparse": "sparse",
    "torch": "torch",
    "wrapt": "wrapt",
    "xr": "xarray",
}


class Pair(NamedTuple):
    """Two things.

    Attributes
    ----------
    kind : str
        What is told apart, or taken for the same; each once.
    left, right : str
        Expressions, evaluated among the ``NAMES`` of the table's module, or what it defines.
    same : bool
        Whether they have one identity.
    untracked : bool
        Whether something in them cannot be followed, which has to be said.
    travels : bool
        Whether a copy that was pickled has the same identity.
    """

    kind: str
    left: str
    right: str
    same: bool
    untracked: bool = False
    travels: bool = True


def differ(kind, left, right, **more):
    """Say that two things have different identities."""
    return Pair(kind, left, right, same=False, **more)


def equal(kind, left, right=None, **more):
    """Say that two things, or one that is made twice, have one identity."""
    return Pair(kind, left, left if right is None else right, same=True, **more)


def looked_at(table, pair):
    """Give the identities of a pair: of each thing, of the left one made anew, and of the copy that travelled."""
    module = sys.modules[table]
    names = dict(getattr(module, "NAMES", vars(module)))
    text = f"{pair.left} {pair.right}"
    try:
        for alias, name in ALIASES.items():
            if re.search(rf"\b{alias}\b", text):
                importlib.import_module(name)
                names[alias] = importlib.import_module(name.partition(".")[0] if alias == "scipy" else name)
    except ImportError as problem:
        return {"missing": str(problem)}
    try:
        made = [eval(text, names) for text in (pair.left, pair.left, pair.right)]
        if pair.travels:
            made.append(cloudpickle.loads(cloudpickle.dumps(made[0])))
        found = [identify(value) for value in made]
    except Exception:  # noqa: BLE001 - what goes wrong is what the test shows
        return {"problem": traceback.format_exc()}
    return {
        "digests": [each.digest for each in found],
        "untracked": [list(found[0].untracked), list(found[2].untracked)],
        "again": identify(made[0]).digest,
    }


if __name__ == "__main__":
    found = {}
    for table in sys.argv[1:]:
        module = importlib.import_module(table)
        found[table] = {pair.kind: looked_at(table, pair) for pair in module.PAIRS}
    sys.stdout.write("\n" + json.dumps(found))

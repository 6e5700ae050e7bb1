"""Pairs of values: wrappers, frames, arrays, objects, paths."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import itertools
import os
import typing
from pathlib import Path, PurePath  # noqa: F401 - expressions refer to it

from pairs import differ, equal

__all__ = ["PAIRS"]


def power(x, k=1):
    """Raise a number to a power."""
    return x**k


def named(k):
    """Give a partial that keeps the name of its function."""
    return functools.update_wrapper(functools.partial(power, k=k), power)


class Clip:
    """A decorator as a class."""

    def __init__(self, fn, top):
        functools.update_wrapper(self, fn)
        self.fn, self.top = fn, top

    def __call__(self, x):
        return min(self.fn(x), self.top)


class Slotted:
    """A decorator with slots."""

    __slots__ = ("__wrapped__", "top")

    def __init__(self, fn, top):
        self.__wrapped__, self.top = fn, top

    def __call__(self, x):
        return min(self.__wrapped__(x), self.top)


class Reducing:
    """A decorator that says itself how it is pickled."""

    def __init__(self, fn, top):
        functools.update_wrapper(self, fn)
        self.top = top

    def __call__(self, x):
        return min(self.__wrapped__(x), self.top)

    def __reduce__(self):
        return Reducing, (self.__wrapped__, self.top)


def scorer(**attributes):
    """Give a function with attributes."""

    def score(x):
        return x

    vars(score).update(attributes)
    return score


def wrapper(fn, **attributes):
    """Give a function that a library made of another one, with attributes."""
    made = functools.singledispatch(fn)
    vars(made).update(attributes)
    return made


def registered(result):
    """Give a function with an implementation for integers."""

    @functools.singledispatch
    def f(x):
        return None

    f.register(int, lambda _: result)
    return f


def used(value, *arguments):
    """Give a function after a call of it."""
    value(*arguments)
    return value


def after(value, look):
    """Give a value after somebody has looked at it."""
    look(value)
    return value


def with_attributes(value, **attributes):
    """Give an object with attributes."""
    for name, item in attributes.items():
        setattr(value, name, item)
    return value


class Named:
    """An object that says that it is called something, as singletons do."""

    def __init__(self, level):
        self.level = level

    def __reduce__(self):
        return "NAMED"


NAMED = Named(1)


class Raises:
    """An object that refuses whatever it is asked."""

    def __init__(self, level):
        self.level = level

    def __getattribute__(self, name):
        raise RuntimeError(name)

    __eq__ = __bool__ = __hash__ = __reduce_ex__ = __reduce__ = __repr__ = __getattribute__


class Lies:
    """An object that is equal to everything, false, and has any attribute."""

    def __init__(self, level):
        self.level = level

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __bool__(self):
        return False

    def __len__(self):
        return 0

    def __getattr__(self, name):
        if name.startswith("__") and name != "__wrapped__":
            raise AttributeError(name)
        return self


class Pretends:
    """An object that says that it is of another class."""

    def __init__(self, level):
        self.level = level

    @property
    def __class__(self):
        return dict


class BadReducer:
    """An object whose reducer gives something that is none."""

    def __init__(self, level, given):
        self.level, self.given = level, given

    def __reduce_ex__(self, protocol):
        return self.given


class Slots:
    """An object with slots, of which one is not set."""

    __slots__ = ("__dict__", "a", "b")

    def __init__(self, a):
        self.a = a


class Tags(set):
    """A set with a name."""


class Order(collections.OrderedDict):
    """A dictionary whose order counts."""


class Holder:
    """An object that holds a set, in a state that it gives in no certain order."""

    def __init__(self, items):
        self.items = items

    def __getstate__(self):
        return {"items": self.items, "names": {str(item) for item in self.items}}


class Node:
    """An object that refers to itself."""

    def __init__(self, level):
        self.level, self.me = level, [self]


class Color(enum.Enum):
    """Colours."""

    RED = 1
    BLUE = 2


class Access(enum.Flag):
    """Rights."""

    READ = 1
    WRITE = 2
    RUN = 4


@dataclasses.dataclass
class Settings:
    """A record."""

    rate: float


class Row(typing.NamedTuple):
    """A record that is a tuple."""

    a: int
    b: str


class Weight(float):
    """A number with a unit."""


TARGETS = [Settings(n) for n in range(3)]


def files(**contents):
    """Give a new folder with such files."""
    folder = Path(f"folder_{next(_count)}")
    folder.mkdir()
    for name, text in contents.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
    return folder


def at(place, make):
    """Give what is made while the folder is a certain one, under one name."""
    target = Path(place)
    if target.is_symlink() or target.exists():
        target.rename(f"moved_{next(_count)}")
    make().rename(target)
    return target


_count = itertools.count()


def digest_at(place, make):
    """Give the identity of a path at the time that something certain lies there."""
    from crystallize.fingerprint import value_of

    return value_of(at(place, make))


def circle(**contents):
    """Give a folder in which a link leads back to where it lies."""
    folder = files(**contents)
    (folder / "inner").mkdir()
    (folder / "inner" / "up").symlink_to(Path("..", "inner"), target_is_directory=True)
    return folder


# -- frames and arrays, made by what the pairs import ------------------------------------------------------


def frame(pd, **attributes):
    """Give a frame of pandas with names and words beside the values."""
    made = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    columns = attributes.pop("columns_name", None)
    index = attributes.pop("index_name", None)
    made.columns.name, made.index.name = columns, index
    made.attrs.update(attributes)
    return made


def all_kinds(pd):
    """Give a frame with a column of each kind."""
    return pd.DataFrame(
        {
            "number": [1.0],
            "text": ["x"],
            "time": pd.to_datetime(["2020"]),
            "category": pd.Categorical(["u"]),
            "object": [{1: 2}],
            "flag": [True],
            "nullable": pd.array([None], dtype="Int8"),
            "span": pd.to_timedelta([1]),
            "period": pd.period_range("2020", periods=1, freq="D"),
            "interval": pd.interval_range(0, 1),
        }
    )


def subclass(pd, unit):
    """Give a frame of a class of one's own, with an attribute that it declares."""

    class Frame(pd.DataFrame):
        _metadata = ["unit"]  # noqa: RUF012 - pandas adds it to a list

        @property
        def _constructor(self):
            return Frame

    made = Frame({"a": [1]})
    made.unit = unit
    return made


def unit_array(np, unit):
    """Give an array of a class of one's own."""

    class Units(np.ndarray):
        pass

    made = np.zeros(2).view(Units)
    made.unit = unit
    return made


def garbage(np, fill):
    """Give records with gaps, in which something is left over."""
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "u4"], "offsets": [0, 4], "itemsize": 12})
    raw = np.full(24, fill, "u1")
    made = raw.view(dtype)
    made["a"], made["b"] = [1, 2], [3, 4]
    return made


def jitted(numba, **options):
    """Give a compiled function."""

    def f(x):
        return x + 1

    return numba.njit(**options)(f)


def decorated(wrapt, factor):
    """Give a function in a wrapper of wrapt."""

    def scaled(wrapped, instance, args, kwargs):
        return factor * wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(power, scaled)


def proxy(wrapt, level):
    """Give a proxy with an attribute of its own."""

    class Proxy(wrapt.ObjectProxy):
        def __init__(self, wrapped, level):
            super().__init__(wrapped)
            self._self_level = level

    return Proxy([1, 2], level)


WRAPPERS = [
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

PANDAS = [
    differ(
        "order of categories",
        "pd.Series(pd.Categorical(['a'], ['a', 'b']))",
        "pd.Series(pd.Categorical(['a'], ['b', 'a']))",
    ),
    differ(
        "categories that are ordered",
        "pd.Categorical(['a'], ['a', 'b'], ordered=True)",
        "pd.Categorical(['a'], ['a', 'b'])",
    ),
    differ("categories without members", "pd.Categorical(['a'], ['a', 'b'])", "pd.Categorical(['a'], ['a'])"),
    differ(
        "categories in a frame",
        "pd.DataFrame({'a': pd.Categorical(['a'], ['a', 'b'])})",
        "pd.DataFrame({'a': pd.Categorical(['a'], ['b', 'a'])})",
    ),
    differ(
        "categories of an index", "pd.CategoricalIndex(['a'], ['a', 'b'])", "pd.CategoricalIndex(['a'], ['b', 'a'])"
    ),
    differ("type of categories", "pd.CategoricalDtype(['a', 'b'])", "pd.CategoricalDtype(['b', 'a'], ordered=True)"),
    differ("attrs of a frame", "frame(pd, unit='m')", "frame(pd, unit='km')"),
    differ(
        "attrs of a column",
        "with_attributes(pd.Series([1]), attrs={'u': 1})",
        "with_attributes(pd.Series([1]), attrs={'u': 2})",
    ),
    differ("name of the columns", "frame(pd, columns_name='p')", "frame(pd, columns_name='q')"),
    differ("name of the index", "frame(pd, index_name='p')", "frame(pd, index_name='q')"),
    differ("name of a series", "pd.Series([1], name='a')", "pd.Series([1], name='b')"),
    differ(
        "names of levels",
        "pd.MultiIndex.from_tuples([(1, 2)], names=['a', 'b'])",
        "pd.MultiIndex.from_tuples([(1, 2)], names=['b', 'a'])",
    ),
    differ(
        "values of levels", "pd.MultiIndex.from_tuples([(1, 2), (1, 3)])", "pd.MultiIndex.from_tuples([(1, 2), (2, 3)])"
    ),
    differ(
        "columns in levels",
        "pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([(1, 2)], names=['a', 'b']))",
        "pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([(1, 2)]))",
    ),
    differ(
        "frequency of an index",
        "pd.date_range('2020', periods=3)",
        "pd.DatetimeIndex(list(pd.date_range('2020', periods=3)))",
    ),
    differ(
        "frequency of periods",
        "pd.period_range('2020', periods=2, freq='M')",
        "pd.period_range('2020', periods=2, freq='Q')",
    ),
    differ(
        "time zone of a column",
        "pd.Series(pd.date_range('2020', periods=2, tz='UTC'))",
        "pd.Series(pd.date_range('2020', periods=2, tz='Europe/Paris').tz_convert('Europe/Paris'))",
    ),
    differ(
        "unit of times",
        "pd.Series(pd.to_datetime(['2020']).as_unit('s'))",
        "pd.Series(pd.to_datetime(['2020']).as_unit('ns'))",
    ),
    differ("range and list as an index", "pd.RangeIndex(3)", "pd.Index([0, 1, 2])"),
    differ("step of a range", "pd.RangeIndex(0, 4, 2)", "pd.RangeIndex(0, 3, 2)"),
    differ("closed side of intervals", "pd.interval_range(0, 2)", "pd.interval_range(0, 2, closed='left')"),
    differ("labels that may occur twice", "frame(pd)", "frame(pd).set_flags(allows_duplicate_labels=False)"),
    differ("nullable type", "pd.Series([1, 2], dtype='Int64')", "pd.Series([1, 2])"),
    differ("missing values", "pd.array([1, None])", "pd.array([1, 2])"),
    equal(
        "what lies under missing values",
        "pd.arrays.IntegerArray(np.array([1, 7]), np.array([False, True]))",
        "pd.arrays.IntegerArray(np.array([1, 8]), np.array([False, True]))",
    ),
    differ("sparse column", "pd.Series(pd.arrays.SparseArray([0, 1]))", "pd.Series(pd.arrays.SparseArray([1, 0]))"),
    differ(
        "fill value of a sparse column",
        "pd.arrays.SparseArray([0, 0], fill_value=0)",
        "pd.arrays.SparseArray([0, 0], fill_value=1)",
    ),
    differ(
        "values of Arrow in a column",
        "pd.Series([1, 2], dtype='int64[pyarrow]')",
        "pd.Series([1, 3], dtype='int64[pyarrow]')",
    ),
    differ("text in a column", "pd.Series(['a', None])", "pd.Series(['a', 'b'])"),
    differ(
        "how text is stored", "pd.Series(['a'], dtype='string[python]')", "pd.Series(['a'], dtype='string[pyarrow]')"
    ),
    differ("attribute of a subclass of frames", "subclass(pd, 'm')", "subclass(pd, 'km')"),
    equal(
        "frame put together in another way",
        "pd.DataFrame({'a': [1, 2], 'b': [3, 4]})",
        "pd.DataFrame({'a': [1, 2]}).assign(b=[3, 4])",
    ),
    equal(
        "frame whose accessor was used",
        "frame(pd)",
        "after(frame(pd), lambda f: (f.b.str, f.memory_usage(), f.dtypes))",
    ),
    equal(
        "a part of a column of Arrow", "pd.Series(['b', 'c'])", "pd.Series(['a', 'b', 'c'])[1:].reset_index(drop=True)"
    ),
    equal(
        "frame with columns of all kinds",
        "all_kinds(pd)",
    ),
    differ("offset", "pd.offsets.BusinessDay(1)", "pd.offsets.BusinessDay(2)"),
    differ("time stamp", "pd.Timestamp('2020', tz='UTC')", "pd.Timestamp('2020')"),
    differ("nothing and no time", "pd.NA", "pd.NaT"),
]

ARRAYS = [
    differ("metadata of a type", "np.dtype('f8', metadata={'u': 'm'})", "np.dtype('f8', metadata={'u': 'km'})"),
    differ("metadata of an array's type", "np.zeros(1, np.dtype('f8', metadata={'u': 'm'}))", "np.zeros(1)"),
    differ(
        "metadata of a field", "np.zeros(1, [('a', np.dtype('f8', metadata={'u': 1}))])", "np.zeros(1, [('a', 'f8')])"
    ),
    differ("byte order", "np.zeros(2, '<i4')", "np.zeros(2, '>i4')"),
    differ("unit of dates", "np.zeros(1, 'M8[s]')", "np.zeros(1, 'M8[ms]')"),
    differ(
        "fields out of order",
        "np.zeros(1, {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
        "np.zeros(1, {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [0, 4]})",
    ),
    differ(
        "values in fields out of order",
        "np.array([(1, 2)], {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
        "np.array([(2, 1)], {'names': ['a', 'b'], 'formats': ['i4', 'i4'], 'offsets': [4, 0]})",
    ),
    differ(
        "fields that overlap",
        "np.full(2, 1, 'u2').view({'names': ['a', 'b'], 'formats': ['u2', 'u1'], 'offsets': [0, 1]})",
        "np.full(2, 2, 'u2').view({'names': ['a', 'b'], 'formats': ['u2', 'u1'], 'offsets': [0, 1]})",
    ),
    equal("what lies between fields", "garbage(np, 0)", "garbage(np, 7)"),
    differ("title of a field", "np.zeros(1, [(('t', 'a'), 'i4')])", "np.zeros(1, [(('u', 'a'), 'i4')])"),
    differ("fields in fields", "np.zeros(1, [('a', [('b', 'i4')])])", "np.zeros(1, [('a', [('c', 'i4')])])"),
    differ("arrays in fields", "np.zeros(1, [('a', 'i4', (2, 3))])", "np.zeros(1, [('a', 'i4', (3, 2))])"),
    differ("records and structures", "np.zeros(1, [('a', 'i4')])", "np.zeros(1, [('a', 'i4')]).view(np.recarray)"),
    differ(
        "value that fills a mask",
        "np.ma.array([1, 2], mask=[0, 1], fill_value=7)",
        "np.ma.array([1, 2], mask=[0, 1], fill_value=8)",
    ),
    differ("mask", "np.ma.array([1, 2], mask=[0, 1])", "np.ma.array([1, 2], mask=[1, 0])"),
    differ("hard mask", "np.ma.array([1], mask=[1])", "np.ma.array([1], mask=[1], hard_mask=True)"),
    equal("no mask", "np.ma.array([1, 2])", "np.ma.array([1, 2], mask=[False, False])"),
    differ("attribute of a subclass of arrays", "unit_array(np, 'm')", "unit_array(np, 'km')", travels=False),
    differ("matrix and array", "np.asmatrix([[1]])", "np.array([[1]])"),
    differ("array without dimensions", "np.array(1.0)", "np.float64(1.0)"),
    differ(
        "object in an array without dimensions", "np.array({'a': 1}, dtype=object)", "np.array({'a': 2}, dtype=object)"
    ),
    differ("lists in an array", "np.array([[1, 2], [3]], dtype=object)", "np.array([[1, 2], [4]], dtype=object)"),
    differ(
        "text of variable length",
        "np.array(['a', 'b'], dtype=np.dtypes.StringDType())",
        "np.array(['a', 'c'], dtype=np.dtypes.StringDType())",
    ),
    differ("missing text", "np.dtypes.StringDType(na_object=None)", "np.dtypes.StringDType()"),
    equal("extended precision", "np.array([1, 2], np.longdouble) / 3"),
    differ(
        "extended precision that differs", "np.array([1, 2], np.longdouble) / 3", "np.array([1, 4], np.longdouble) / 3"
    ),
    differ(
        "subclass of a number of NumPy",
        "type('Degrees', (np.float64,), {'unit': 1})(2)",
        "np.float64(2)",
        travels=False,
    ),
    differ("zero and minus zero", "np.array([0.0])", "np.array([-0.0])"),
    equal(
        "array in another order of memory",
        "np.arange(6).reshape(2, 3)",
        "np.asfortranarray(np.arange(6).reshape(2, 3))",
    ),
    differ("generator of NumPy", "np.random.default_rng(1)", "np.random.default_rng(2)"),
    differ(
        "generator of NumPy that was used",
        "np.random.default_rng(1)",
        "after(np.random.default_rng(1), lambda g: g.random())",
    ),
    differ("older generator of NumPy", "np.random.RandomState(1)", "np.random.RandomState(2)"),
    differ(
        "kinds of generators", "np.random.Generator(np.random.PCG64(1))", "np.random.Generator(np.random.MT19937(1))"
    ),
    differ("seed sequence", "np.random.SeedSequence(1)", "np.random.SeedSequence(2)"),
    differ("sparse matrix and sparse array", "sp.csr_matrix([[1]])", "sp.csr_array([[1]])"),
    differ("layout of a sparse matrix", "sp.csr_matrix([[1, 0]])", "sp.csc_matrix([[1, 0]])"),
    differ("values of a sparse matrix", "sp.coo_matrix([[1, 0]])", "sp.coo_matrix([[0, 1]])"),
    equal(
        "sparse matrix that was looked at",
        "sp.csr_matrix([[1, 0]])",
        "after(sp.csr_matrix([[1, 0]]), lambda m: (m.has_sorted_indices, m.has_canonical_format))",
    ),
    differ(
        "dictionary of keys",
        "after(sp.dok_matrix((2, 2)), lambda m: m.__setitem__((0, 0), 1))",
        "after(sp.dok_matrix((2, 2)), lambda m: m.__setitem__((0, 1), 1))",
    ),
    differ(
        "fitted model",
        "sklearn.LinearRegression().fit([[0], [1]], [0, 1])",
        "sklearn.LinearRegression().fit([[0], [1]], [0, 2])",
    ),
    differ("parameter of a model", "sklearn.Ridge(alpha=1)", "sklearn.Ridge(alpha=2)"),
    differ("search tree", "spatial(np, 0)", "spatial(np, 1)"),
    differ("frozen distribution", "distributions().norm(0, 1)", "distributions().norm(0, 2)", travels=False),
    differ("dimensions", "xr.DataArray([[1]], dims=('x', 'y'))", "xr.DataArray([[1]], dims=('y', 'x'))"),
    differ(
        "coordinates",
        "xr.DataArray([1], coords={'x': [1]}, dims='x')",
        "xr.DataArray([1], coords={'x': [2]}, dims='x')",
    ),
    differ("attrs of xarray", "xr.DataArray([1], attrs={'u': 'm'})", "xr.DataArray([1], attrs={'u': 'km'})"),
    differ("values of xarray", "xr.Dataset({'a': ('x', [1])})", "xr.Dataset({'a': ('x', [2])})"),
    differ("name of xarray", "xr.DataArray([1], name='a')", "xr.DataArray([1], name='b')"),
    equal(
        "xarray that was looked at",
        "xr.DataArray([1.0], coords={'x': [1]}, dims='x')",
        "after(xr.DataArray([1.0], coords={'x': [1]}, dims='x'), lambda a: (a.attrs, a.encoding, a.x.attrs))",
    ),
    differ("unit of Pint", "pint.UnitRegistry().Quantity(1, 'm')", "pint.UnitRegistry().Quantity(1, 'km')"),
    differ(
        "magnitude of Pint",
        "pint.UnitRegistry().Quantity(np.ones(2), 'm')",
        "pint.UnitRegistry().Quantity(np.zeros(2), 'm')",
    ),
    differ("units of Pint", "pint.UnitRegistry().meter", "pint.UnitRegistry().second"),
    differ("unit of Astropy", "np.ones(2) * astropy.m", "np.ones(2) * astropy.km"),
    differ(
        "fill value of a sparse array",
        "sparse.COO([[0]], [1.0], shape=(3,))",
        "sparse.COO([[0]], [1.0], shape=(3,), fill_value=2.0)",
    ),
    differ(
        "coordinates of a sparse array", "sparse.COO([[0]], [1.0], shape=(3,))", "sparse.COO([[1]], [1.0], shape=(3,))"
    ),
    differ("array of JAX", "jnp.array([1, 2])", "jnp.array([1, 3])"),
]

TENSORS = [
    equal("tensor that wants a gradient", "torch.ones(2, requires_grad=True)"),
    differ("whether a tensor wants a gradient", "torch.ones(2, requires_grad=True)", "torch.ones(2)"),
    differ("values of a tensor", "torch.tensor([1.0, 2.0])", "torch.tensor([1.0, 3.0])"),
    differ("type of a tensor", "torch.zeros(2, dtype=torch.bfloat16)", "torch.zeros(2, dtype=torch.float16)"),
    differ("values of a half", "torch.ones(2, dtype=torch.bfloat16)", "torch.zeros(2, dtype=torch.bfloat16)"),
    differ("shape of a tensor", "torch.zeros(2, 3)", "torch.zeros(3, 2)"),
    equal("a part of a tensor", "torch.arange(6)[2:4]", "torch.tensor([2, 3])"),
    equal("a tensor turned round", "torch.arange(6).reshape(2, 3).T", "torch.arange(6).reshape(2, 3).T.contiguous()"),
    differ("sparse and dense", "torch.eye(2).to_sparse()", "torch.eye(2)"),
    differ("values of a sparse tensor", "torch.eye(2).to_sparse()", "(2 * torch.eye(2)).to_sparse()"),
    differ("layout of a sparse tensor", "torch.eye(2).to_sparse_csr()", "torch.eye(2).to_sparse_csc()"),
    equal("sparse tensor that wants a gradient", "torch.eye(2).to_sparse().requires_grad_()", travels=False),
    differ("complex tensor", "torch.tensor([1 + 2j])", "torch.tensor([1 - 2j])"),
    equal("conjugate", "torch.tensor([1 + 2j]).conj()", "torch.tensor([1 - 2j])"),
    differ(
        "quantized tensor",
        "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)",
        "torch.quantize_per_tensor(torch.ones(2), 0.1, 1, torch.quint8)",
    ),
    differ("parameter and tensor", "torch.nn.Parameter(torch.ones(2))", "torch.ones(2, requires_grad=True)"),
    differ(
        "attribute of a tensor", "with_attributes(torch.ones(1), unit='m')", "with_attributes(torch.ones(1), unit='km')"
    ),
    differ("tensor without content", "torch.zeros(2, device='meta')", "torch.zeros(3, device='meta')"),
    differ("number as a tensor", "torch.tensor(1)", "torch.tensor(2)"),
    equal("layer", "after(torch.manual_seed(1), id) and torch.nn.Linear(2, 2)"),
    differ(
        "layer in training", "after(torch.manual_seed(1), id) and torch.nn.Dropout(0.5)", "torch.nn.Dropout(0.5).eval()"
    ),
    differ("generator of PyTorch", "torch.Generator().manual_seed(1)", "torch.Generator().manual_seed(2)"),
    differ("memory of a tensor", "torch.ones(2).untyped_storage()", "torch.zeros(2).untyped_storage()", travels=False),
    differ("type of PyTorch", "torch.float32", "torch.float64"),
    differ("frame of Polars", "pl.DataFrame({'a': [1]})", "pl.DataFrame({'a': [2]})"),
    differ("names in Polars", "pl.DataFrame({'a': [1]})", "pl.DataFrame({'b': [1]})"),
    differ(
        "categories of Polars",
        "pl.Series('a', ['x'], dtype=pl.Enum(['x', 'y']))",
        "pl.Series('a', ['x'], dtype=pl.Enum(['y', 'x']))",
    ),
    equal("categories of Polars, again", "pl.Series('a', ['x', None], dtype=pl.Categorical)"),
    differ("types of Polars", "pl.Enum(['x', 'y'])", "pl.Enum(['y', 'x'])"),
    equal(
        "frame of Polars in pieces",
        "pl.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
        "pl.concat([pl.DataFrame({'a': [1], 'b': ['x']}), pl.DataFrame({'a': [2], 'b': ['y']})], rechunk=False)",
    ),
    differ("missing values of Polars", "pl.Series([1, None])", "pl.Series([1, 0])"),
    differ("lists in Polars", "pl.Series([[1], [2]])", "pl.Series([[1], [3]])"),
    differ(
        "objects in Polars",
        "pl.Series([{1: 2}], dtype=pl.Object)",
        "pl.Series([{1: 3}], dtype=pl.Object)",
        travels=False,
    ),
    differ("table of Arrow", "pa.table({'a': [1]})", "pa.table({'a': [2]})"),
    differ(
        "metadata of a table of Arrow",
        "pa.table({'a': [1]}).replace_schema_metadata({'u': 'm'})",
        "pa.table({'a': [1]}).replace_schema_metadata({'u': 'km'})",
    ),
    equal(
        "table of Arrow in pieces",
        "pa.table({'a': [1, 2]})",
        "pa.concat_tables([pa.table({'a': [1]}), pa.table({'a': [2]})])",
    ),
    equal("a part of an array of Arrow", "pa.array(['b', None])", "pa.array(['a', 'b', None])[1:]"),
    differ("dictionary of Arrow", "pa.array(['a']).dictionary_encode()", "pa.array(['a'])"),
    differ("type of Arrow", "pa.list_(pa.int8())", "pa.list_(pa.int16())"),
]

OBJECTS = [
    differ("object that is called like another one", "NAMED", "Named(2)", travels=False),
    equal("object that is called like another one, equal to it", "NAMED", "Named(1)", travels=False),
    differ("object that raises whatever it is asked", "Raises(1)", "Raises(2)", travels=False),
    differ("object that lies", "Lies(1)", "Lies(2)"),
    differ("objects that lie in a dictionary", "{Lies(1): 1}", "{Lies(2): 1}"),
    differ("object that says that it is a dictionary", "Pretends(1)", "Pretends(2)", travels=False),
    differ("reducer that gives nothing", "BadReducer(1, None)", "BadReducer(2, None)", travels=False),
    differ("reducer that gives too little", "BadReducer(1, ())", "BadReducer(2, ())", travels=False),
    differ("reducer that gives too much", "BadReducer(1, (1,) * 9)", "BadReducer(2, (1,) * 9)", travels=False),
    differ("slots that are not set", "Slots(1)", "with_attributes(Slots(1), b=2)"),
    differ("slots and attributes", "with_attributes(Slots(1), c=1)", "with_attributes(Slots(1), c=2)"),
    equal("set in an object's state", "Holder({'a', 'b', 'c', 'd', 'e'})"),
    equal("subclass of set", "Tags(['a', 'b', 'c', 'd', 'e'])"),
    differ("attribute of a set", "with_attributes(Tags('ab'), name=1)", "with_attributes(Tags('ab'), name=2)"),
    differ("members of a subclass of set", "Tags('ab')", "Tags('ac')"),
    differ("order of a subclass of OrderedDict", "Order(a=1, b=2)", "Order(b=2, a=1)"),
    differ("order of an OrderedDict", "collections.OrderedDict(a=1, b=2)", "collections.OrderedDict(b=2, a=1)"),
    equal("order of a dictionary", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    equal(
        "order of a defaultdict", "collections.defaultdict(list, a=1, b=2)", "collections.defaultdict(list, b=2, a=1)"
    ),
    differ("factory of a defaultdict", "collections.defaultdict(list)", "collections.defaultdict(set)"),
    equal("object that refers to itself", "Node(1)"),
    differ("objects that refer to themselves", "Node(1)", "Node(2)"),
    equal("huge number", "7**9000"),
    differ("halves of characters", "'\\ud800'", "'\\udfff'"),
    differ("halves of characters in names", "{'\\ud800': 1}", "{'\\udfff': 1}"),
    differ("number with a type of its own", "Weight(1)", "1.0"),
    differ("attribute of a number", "with_attributes(Weight(1), unit='m')", "with_attributes(Weight(1), unit='km')"),
    differ("members of an enumeration", "Color.RED", "Color.BLUE"),
    differ("flags put together", "Access.READ | Access.WRITE", "Access.READ | Access.RUN"),
    differ("records", "Settings(1)", "Settings(2)"),
    differ("record and tuple", "Row(1, 'a')", "(1, 'a')"),
    differ("pattern", "re.compile('a', re.I)", "re.compile('a')"),
    differ("decimal with zeros", "decimal.Decimal('1.0')", "decimal.Decimal('1.00')"),
    differ("fraction", "fractions.Fraction(1, 3)", "fractions.Fraction(2, 3)"),
    differ("unique identifier", "uuid.UUID(int=1)", "uuid.UUID(int=2)"),
    differ("time zone of a time", "dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)", "dt.datetime(2020, 1, 1)"),
    differ("second time at the end of summer", "dt.datetime(2020, 1, 1, fold=1)", "dt.datetime(2020, 1, 1)"),
    differ("time zone", "zoneinfo.ZoneInfo('Europe/Paris')", "zoneinfo.ZoneInfo('UTC')"),
    differ("range", "range(3)", "range(0, 3, 2)"),
    differ("slice", "slice(1, 2)", "slice(1, 2, 1)"),
    differ("generator of Python", "random.Random(1)", "random.Random(2)"),
    differ("generator of Python that was used", "random.Random(1)", "after(random.Random(1), lambda r: r.random())"),
    differ("format of a memoryview", "memoryview(b'abcd').cast('i')", "memoryview(b'abcd').cast('f')", travels=False),
    differ("shape of a memoryview", "memoryview(b'abcd').cast('B', (2, 2))", "memoryview(b'abcd')", travels=False),
    equal(
        "memoryview that was released", "after(memoryview(b'a'), lambda m: m.release())", untracked=True, travels=False
    ),
    differ("code of an array's type", "array.array('i', [1])", "array.array('l', [1])"),
    differ("what a weak reference points at", "weakref.ref(TARGETS[1])", "weakref.ref(TARGETS[2])", travels=False),
    differ("what a weak proxy points at", "weakref.proxy(TARGETS[1])", "weakref.proxy(TARGETS[2])", travels=False),
    differ("weak set", "weakref.WeakSet([TARGETS[1].__class__])", "weakref.WeakSet([Row])", travels=False),
    differ(
        "weak dictionary",
        "weakref.WeakValueDictionary({1: TARGETS[1]})",
        "weakref.WeakValueDictionary({1: TARGETS[2]})",
        travels=False,
    ),
    differ("dead weak reference", "weakref.ref(Settings(1))", "weakref.ref(TARGETS[1])", travels=False),
    differ("text in memory, read so far", "io.StringIO('abc')", "after(io.StringIO('abc'), lambda f: f.read(1))"),
    differ("getter", "operator.itemgetter(1)", "operator.itemgetter(2)"),
    differ("caller", "operator.methodcaller('a', 1)", "operator.methodcaller('a', 2)"),
    differ("type variable", "typing.TypeVar('T', bound=int)", "typing.TypeVar('T', bound=str)", travels=False),
    differ("type with parameters", "dict[str, int]", "dict[str, float]"),
    differ("one type or another", "int | None", "str | None"),
    equal("class of a record made by a function", "dataclasses.make_dataclass('R', ['a'])(1)"),
    differ(
        "object of a class made by a function",
        "types.new_class('A')()",
        "types.new_class('A', (), {}, lambda names: names.update(f=1))()",
    ),
    differ(
        "record with a borrowed module",
        "collections.namedtuple('P', 'x', module='json')(1)",
        "collections.namedtuple('P', 'x', module='json')(2)",
        travels=False,
    ),
    differ(
        "member of an enumeration made by a function",
        "enum.Enum('X', 'a b', module='json').a",
        "enum.Enum('X', 'a b', module='json').b",
        travels=False,
    ),
    differ(
        "module made by hand",
        "with_attributes(types.ModuleType('m'), a=1)",
        "with_attributes(types.ModuleType('m'), a=2)",
    ),
    equal("variable of a context", "contextvars.ContextVar('v')", untracked=True, travels=False),
    equal("running generator", "(x for x in 'ab')", untracked=True, travels=False),
    equal("open file", "open(os.devnull)", untracked=True, travels=False),
    equal("iterator of itertools", "itertools.count(1)", untracked=True, travels=False),
]

PATHS = [
    differ(
        "content of a file", "digest_at('a', lambda: files(x='1') / 'x')", "digest_at('a', lambda: files(x='2') / 'x')"
    ),
    differ("file in a folder", "digest_at('b', lambda: files(x='1'))", "digest_at('b', lambda: files(x='2'))"),
    differ(
        "file that was added to a folder",
        "digest_at('c', lambda: files(x='1'))",
        "digest_at('c', lambda: files(x='1', y='2'))",
    ),
    differ(
        "name of a file in a folder", "digest_at('d', lambda: files(x='1'))", "digest_at('d', lambda: files(y='1'))"
    ),
    differ(
        "file deep in a folder",
        "digest_at('e', lambda: files(a__b__c='1'))",
        "digest_at('e', lambda: files(a__b__c='2'))",
    ),
    equal("folder with links in a circle", "digest_at('f', lambda: circle(x='1'))"),
    differ(
        "folders with links in a circle",
        "digest_at('g', lambda: circle(x='1'))",
        "digest_at('g', lambda: circle(x='2'))",
    ),
    equal(
        "what programs leave in a folder",
        "digest_at('h', lambda: files(x='1'))",
        "digest_at('h', lambda: with_cache(files(x='1')))",
    ),
    differ("path with a null byte", "Path('a\\0')", "Path('b\\0')"),
    differ("path that leads nowhere", "Path('nowhere')", "Path('nor_there')"),
    differ("path and text", "Path('nowhere')", "'nowhere'"),
    differ("pure path", "PurePath('a')", "PurePath('b')"),
    differ(
        "file in a list in a record",
        "digest_at_in(lambda path: Settings([path]), '1')",
        "digest_at_in(lambda path: Settings([path]), '2')",
    ),
    differ(
        "file in a closure",
        "digest_at_in(lambda path: (lambda: path.read_text()), '1')",
        "digest_at_in(lambda path: (lambda: path.read_text()), '2')",
    ),
    equal("path that cannot be read twice", "pipe()", untracked=True),
]


def distributions():
    """Give the distributions of SciPy."""
    import scipy.stats

    return scipy.stats


def spatial(np, last):
    """Give a tree for nearest neighbours."""
    import scipy.spatial

    return scipy.spatial.KDTree(np.array([[0.0, 1.0], [2.0, last]]))


def with_cache(folder):
    """Give a folder in which a program has left a cache."""
    for name, mark in (("cache", "CACHEDIR.TAG"), ("__pycache__", "x.pyc"), ("venv", "pyvenv.cfg")):
        (folder / name).mkdir()
        (folder / name / mark).touch()
    return folder


def digest_at_in(holder, text):
    """Give the identity of something that holds a path, while a file has a certain content."""
    from crystallize.fingerprint import value_of

    path = Path("held.txt")
    path.write_text(text, encoding="utf-8")
    return value_of(holder(path))


def pipe():
    """Give the path of a pipe, or of a device where there are none."""
    path = Path("pipe")
    if hasattr(os, "mkfifo"):
        if not path.exists():
            os.mkfifo(path)
        return path
    return Path("\\\\.\\pipe\\none")


PAIRS = [*WRAPPERS, *PANDAS, *ARRAYS, *TENSORS, *OBJECTS, *PATHS]

"""What the pairs of values are made of: their expressions are evaluated among these names."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import itertools
import os
import typing
from pathlib import Path, PurePath  # noqa: F401 - expressions refer to it


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

"""Pairs of objects of all kinds, and of paths."""

from __future__ import annotations

import pairs_values
from pairs import differ, equal

__all__ = ["NAMES", "PAIRS"]

NAMES = vars(pairs_values)

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
    differ(
        "layout of a record", "__import__('struct').Struct('<i')", "__import__('struct').Struct('<q')", travels=False
    ),
    equal("layout of a record, again", "__import__('struct').Struct('<4sI')", travels=False),
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

PAIRS = [*OBJECTS, *PATHS]

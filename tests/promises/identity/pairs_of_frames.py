"""Pairs of frames, columns and indexes of pandas."""

from __future__ import annotations

import pairs_values
from pairs import differ, equal

__all__ = ["NAMES", "PAIRS"]

NAMES = vars(pairs_values)

PAIRS = [
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

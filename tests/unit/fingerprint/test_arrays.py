"""Arrays and frames: by what they hold, hashed where they lie."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.fingerprint import value_of

dtypes = st.sampled_from(["u1", "i4", "i8", "f4", "f8", "c16", "?", "<U3", "S2", "M8[D]", "m8[s]"])
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def filled(shape, dtype, start=0):
    count = int(np.prod(shape))
    return (np.arange(start, start + count) % 100).astype("u1").astype(dtype).reshape(shape)


@given(shapes, dtypes, shapes, dtypes)
def test_shape_and_type_belong_to_an_array(shape, dtype, other_shape, other_dtype):
    same = (shape, np.dtype(dtype)) == (other_shape, np.dtype(other_dtype))
    assert (value_of(filled(shape, dtype)) == value_of(filled(other_shape, other_dtype))) == same


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_one_changed_item_is_seen(shape, data):
    array = filled(shape, "f8")
    changed = array.copy()
    changed[tuple(data.draw(st.integers(0, n - 1)) for n in shape)] += 1
    assert value_of(array) == value_of(array.copy()) != value_of(changed)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=3), dtypes)
def test_how_an_array_lies_in_memory_makes_no_difference(shape, dtype):
    array = filled(shape, dtype)
    padded = np.zeros([2 * n for n in shape], dtype)
    strided = padded[tuple(slice(None, None, 2) for _ in shape)]
    strided[...] = array
    read_only = array.view()
    read_only.flags.writeable = False
    turned = np.ascontiguousarray(array[::-1])[::-1]
    assert len({value_of(each) for each in (array, np.asfortranarray(array), strided, read_only, turned)}) == 1


def test_a_mapped_array_is_the_array_that_it_maps(tmp_path):
    array = filled((5, 6), "f8")
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert value_of(mapped) == value_of(array)


def test_scalars_records_objects_and_texts_of_an_array_are_known_by_content():
    assert value_of(np.float64(1)) == value_of(np.float64(1)) != value_of(np.float32(1))
    assert value_of(np.float64(1)) != value_of(1.0)
    records = np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    assert value_of(records) == value_of(records.copy()) != value_of(records.astype([("a", int), ("c", float)]))
    objects = [np.array([{"a": 1}, text], dtype=object) for text in ("x", "x", "y")]
    assert value_of(objects[0]) == value_of(objects[1]) != value_of(objects[2])
    masked = [np.ma.masked_array([1, 2], mask) for mask in ([0, 1], [0, 1], [1, 0])]
    assert value_of(masked[0]) == value_of(masked[1]) != value_of(masked[2])
    generators = [np.random.default_rng(seed) for seed in (1, 1, 2)]
    assert value_of(generators[0]) == value_of(generators[1]) != value_of(generators[2])


def test_an_array_inside_an_object_counts():
    linear_model = pytest.importorskip("sklearn.linear_model")
    fitted = [linear_model.LinearRegression().fit([[0], [1]], [0, slope]) for slope in (1, 1, 2)]
    assert value_of(fitted[0]) == value_of(fitted[1]) != value_of(fitted[2])


@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_large_array_is_not_copied(layout):
    array = np.ones((2_000, 2_000), order=layout)
    value_of(array)
    tracemalloc.start()
    try:
        value_of(array)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 8


def test_frames_are_known_by_names_types_and_content():
    pandas = pytest.importorskip("pandas")

    def frame(**columns):
        return pandas.DataFrame(columns)

    base = value_of(frame(a=[1, 2], b=["x", "y"]))
    assert base == value_of(frame(a=[1, 2], b=["x", "y"]))
    others = [
        frame(a=[1, 3], b=["x", "y"]),
        frame(a=[1, 2], c=["x", "y"]),
        frame(a=[1.0, 2.0], b=["x", "y"]),
        frame(b=["x", "y"], a=[1, 2]),
        frame(a=[1, 2], b=["x", "y"]).set_index("a"),
        frame(a=[1, 2], b=["x", "y"])["a"],
    ]
    assert len({base, *map(value_of, others)}) == 7
    twice = [pandas.DataFrame([[1, n]], columns=["a", "a"]) for n in (1, 1, 2)]
    assert value_of(twice[0]) == value_of(twice[1]) != value_of(twice[2])

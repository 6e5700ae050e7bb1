"""Arrays: read-only views of the same memory, whatever their type and layout."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from crystallize import FrozenContext, Treatment, standalone_context
from crystallize.context import isolate

ARRAYS = {
    "float": np.arange(6.0),
    "integer": np.arange(6),
    "boolean": np.array([True, False]),
    "complex": np.array([1j, 2.0]),
    "half": np.zeros(2, "f2"),
    "long double": np.zeros(2, "g"),
    "big-endian": np.arange(3, dtype=">f8"),
    "big-endian text": np.array(["a", "bc"], dtype=">U3"),
    "dates": np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
    "durations": np.array([1, 2], dtype="m8[s]"),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array([None, "a", 3], dtype=object),
    "structured": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    "aligned": np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "structured dates": np.zeros(2, dtype=[("when", "M8[s]"), ("what", "i2")]),
    "opaque": np.zeros(2, "V5"),
    "subarrays": np.zeros(3, dtype=[("xy", "i4", (2,))]),
    "zero-dimensional": np.array(3.5),
    "zero-dimensional date": np.array("2020-01-01", dtype="M8[D]"),
    "empty": np.zeros((0, 3)),
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12.0)[::2],
    "reversed": np.arange(6.0)[::-1],
    "transposed dates": np.arange(6).reshape(2, 3).astype("M8[s]").T,
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "five-dimensional": np.zeros((1, 2, 1, 2, 1)),
}
LOCKED = sorted(set(ARRAYS) - {"opaque"})


@pytest.fixture(params=ARRAYS.values(), ids=list(ARRAYS))
def array(request):
    return request.param.copy(order="K") if request.param.base is None else request.param


def read(array):
    return FrozenContext({"weights": array})["weights"]


def test_type_shape_layout_and_content_stay(array):
    view = read(array)
    assert type(view) is np.ndarray
    assert (view.dtype, view.shape) == (array.dtype, array.shape)
    assert view.strides == array.strides or not array.size
    np.testing.assert_array_equal(view, array)


def test_the_memory_is_the_same(array):
    if array.size:
        assert np.shares_memory(read(array), array)


def test_the_view_cannot_be_written_to(array):
    view = read(array)
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[...] = array


@pytest.mark.parametrize("name", LOCKED)
def test_the_view_cannot_be_made_writable_again(name):
    view = read(ARRAYS[name].copy(order="K"))
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        view.flags.writeable = True


def test_what_a_step_does_to_its_view_is_not_seen_by_the_next():
    ctx = FrozenContext({"weights": np.array([3.0, 1, 2, 0, 5, 4])})
    with pytest.raises(ValueError, match="read-only"):
        ctx["weights"].sort()
    np.testing.assert_array_equal(ctx["weights"], [3, 1, 2, 0, 5, 4])


def test_the_callers_array_stays_writable():
    mine = np.zeros(3)
    ctx = FrozenContext({"weights": mine})
    ctx.add("more", mine)
    assert isolate(mine) is not mine
    assert mine.flags.writeable


def test_arrays_inside_containers_are_views_too():
    ctx = FrozenContext({"layers": [{"w": np.zeros(2)}, (np.zeros(2),)]})
    layers = ctx["layers"]
    assert not layers[0]["w"].flags.writeable
    assert not layers[1][0].flags.writeable


def test_one_array_in_two_places_stays_one():
    weights = np.zeros(2)
    first, second = isolate([weights, weights])
    assert first is second


class Tagged(np.ndarray):
    """A subclass with an attribute of its own."""

    def __array_finalize__(self, obj):
        self.tag = getattr(obj, "tag", None)


def test_subclasses_keep_class_and_attributes_and_are_read_only():
    mine = np.zeros(3).view(Tagged)
    mine.tag = "raw"
    for array in (mine, np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])):
        view = read(array)
        assert type(view) is type(array)
        assert not view.flags.writeable
    assert read(mine).tag == "raw"


def test_neither_the_values_nor_the_mask_of_a_masked_array_can_be_changed():
    mine = np.ma.array([1, 2, 3], mask=[False, True, False])
    view = read(mine)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 9
    with pytest.raises(ValueError, match="read-only"):
        view.mask[0] = True
    assert mine.mask.tolist() == [False, True, False]
    assert view.sum() == 4


def test_a_treatment_with_arrays_keeps_them_read_only():
    weights = Treatment("heavy", {"weights": np.ones(3)}).apply_map["weights"]
    assert not weights.flags.writeable


def test_numpy_numbers_are_no_arrays():
    number = np.float64(0.5)
    assert read(number) is number


def test_a_metric_is_recorded_as_it_is_now():
    ctx, weights = standalone_context(), np.zeros(2)
    ctx.metrics.add("w", weights)
    ctx.metrics.add("nested", {"w": [weights]})
    weights[:] = 7
    np.testing.assert_array_equal(ctx.metrics["w"][0], [0, 0])
    np.testing.assert_array_equal(ctx.metrics["nested"][0]["w"][0], [0, 0])


def test_large_arrays_are_never_copied():
    weights = np.zeros(10_000_000)  # 80 MB
    ctx = FrozenContext({"weights": weights, "nested": {"w": [weights]}})
    tracemalloc.start()
    try:
        for _ in range(20):
            assert ctx["weights"][0] == 0.0
            assert ctx["nested"]["w"][0][0] == 0.0
        ctx.add("again", weights)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_metadata_of_a_type_stay():
    unit = np.dtype("f8", metadata={"unit": "m"})
    nested = np.dtype([("length", unit), ("count", "i4")])
    for dtype in (unit, nested):
        view = read(np.zeros(2, dtype))
        assert view.dtype == dtype
        assert not view.flags.writeable
    assert read(np.zeros(2, nested)).dtype["length"].metadata == {"unit": "m"}
    assert read(np.zeros(2, unit)).dtype.metadata == {"unit": "m"}


def test_lists_in_an_array_of_objects_are_copied():
    mine = np.array([[1], None], dtype=object)
    view = read(mine)
    view[0].append(2)
    assert mine[0] == [1]
    assert not view.flags.writeable

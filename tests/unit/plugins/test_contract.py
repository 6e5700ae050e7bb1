from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from crystallize.errors import ValidationError
from crystallize.plugins.validation import satisfies

versions = st.lists(st.integers(0, 3), min_size=2, max_size=3).map(lambda parts: ".".join(map(str, parts)))
plain = st.builds("{}{}".format, st.sampled_from([">=", "<=", ">", "<", "==", "!=", "~="]), versions)
prefixed = st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), versions)
specifiers = st.lists(plain | prefixed, min_size=1, max_size=3).map(",".join)


@given(versions, specifiers)
def test_a_range_means_what_python_packaging_says(version, specifier):
    assert satisfies(version, specifier) == SpecifierSet(specifier).contains(version)


@pytest.mark.parametrize(
    "version, specifier", [("1.0", ">=1,<2"), ("1.10", ">1.9"), ("1.0", " == 1 "), ("1.2", "~=1.0")]
)
def test_ordinary_ranges_fit(version, specifier):
    assert satisfies(version, specifier)


@pytest.mark.parametrize("specifier", ["", "1", ">=", ">=1,", "=>1", ">=1.*", "~=1", "one", ">=1;<2"])
def test_what_is_no_range_is_refused(specifier):
    with pytest.raises(ValidationError, match="no range of versions"):
        satisfies("1.0", specifier)

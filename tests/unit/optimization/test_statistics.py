"""Means and intervals, held against SciPy and against coverage."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import ValidationError
from crystallize.results.statistics import confidence_interval, mean, standard_error, student_t_quantile


@given(st.floats(0.001, 0.999), st.integers(1, 5000))
def test_quantiles_are_those_of_students_distribution(probability, degrees):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.t.ppf(probability, degrees)
    assert student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    rng = random.Random(7)
    covered = 0
    for _ in range(2000):
        low, high = confidence_interval([rng.gauss(3.0, 2.0) for _ in range(4)], 0.9)
        covered += low <= 3.0 <= high
    assert 0.88 <= covered / 2000 <= 0.92


def test_one_value_has_no_spread():
    assert math.isnan(standard_error([1.0]))
    assert all(map(math.isnan, confidence_interval([1.0])))
    assert math.isnan(mean([]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValidationError, match="level"):
        confidence_interval([1.0, 2.0], level)


def test_means_and_spreads_do_not_overflow():
    assert mean([1e308, 1e308]) == 1e308
    assert math.isnan(mean([math.inf, -math.inf]))
    assert standard_error([-1e200, 1e200]) == pytest.approx(1e200)
    assert standard_error([1e-200, 3e-200]) == pytest.approx(1e-200)
    assert not math.isfinite(standard_error([1.0, math.inf]))

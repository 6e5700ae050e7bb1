"""The verifiers give the numbers of R 4.2, of SciPy, and of the papers that they cite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crystallize_plugins import verifiers

stats = pytest.importorskip("scipy.stats")

# Student's sleep data; Darwin's maize; R's PlantGrowth; R's examples of wilcox.test (depression, permeability).
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
CONTROL = [4.17, 5.58, 5.18, 6.11, 4.5, 4.61, 5.17, 4.53, 5.33, 5.14]
GROWN = {
    "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    "trt2": [6.31, 5.12, 5.54, 5.5, 5.37, 5.29, 4.92, 6.15, 5.8, 5.26],
}
DEPRESSION = (
    [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30],
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29],
)
PERMEABILITY = [1.15, 0.88, 0.90, 0.74, 1.21], [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
INF = math.inf


def near(value, rel=1e-6):
    return pytest.approx(value, rel=rel, abs=1e-9)


@pytest.mark.parametrize(
    "name, alternative, sides, statistic, p_value, ci",
    [
        ("paired_t", "two-sided", SLEEP, 4.062127683382037, 0.002832890197384, (0.700114236723018, 2.459885763276982)),
        ("paired_t", "greater", SLEEP, 4.062127683382037, 0.00141644509869214, (0.866994732970716, INF)),
        ("paired_t", "less", SLEEP, 4.062127683382037, 0.998583554901308, (-INF, 2.29300526702928)),
        ("welch", "two-sided", SLEEP, 1.86081346748685, 0.0793941401873582, (-0.20548323071171, 3.36548323071171)),
        ("welch", "greater", SLEEP, 1.86081346748685, 0.0396970700936791, (0.106618502668394, INF)),
        ("wilcoxon", "two-sided", DEPRESSION, 5, 0.0390625, (-0.786, -0.01)),
        ("wilcoxon", "greater", DEPRESSION, 5, 0.986328125, (-0.726, INF)),
        ("wilcoxon", "less", DEPRESSION, 5, 0.01953125, (-INF, -0.175)),
        ("mannwhitney", "two-sided", PERMEABILITY, 35, 0.254412254412254, (-0.15, 0.76)),
        ("mannwhitney", "greater", PERMEABILITY, 35, 0.127206127206127, (-0.08, INF)),
        ("mannwhitney", "less", PERMEABILITY, 35, 0.896769896769897, (-INF, 0.72)),
    ],
)
def test_a_test_gives_the_numbers_of_r(name, alternative, sides, statistic, p_value, ci):
    verdict = getattr(verifiers, name)(alternative=alternative)(*sides)
    assert (verdict.statistic, verdict.p_value) == (near(statistic), near(p_value, 1e-12 if len(ci) == 2 else 1e-6))
    assert verdict.ci == near(ci)


def test_effect_sizes_are_the_published_ones():
    assert verifiers.paired_t()(*reversed(SLEEP)).effect_size == near(-1.2845575625910544)
    assert verifiers.welch()(*reversed(SLEEP)).effect_size == near(-0.7969352391911223)
    assert verifiers.wilcoxon()(*DEPRESSION).effect_size == near((5 - 40) / 45)
    assert verifiers.mannwhitney()(*PERMEABILITY).effect_size == near(2 * 35 / 50 - 1)
    assert verifiers.wilcoxon()(*DEPRESSION).estimate == near(-0.46)
    assert verifiers.mannwhitney()(*PERMEABILITY).estimate == near(0.305)


def test_the_resampled_test_is_that_of_nadeau_and_bengio():
    ours = [0.80, 0.79, 0.82, 0.78, 0.81, 0.80, 0.83, 0.79, 0.80, 0.82]
    theirs = [0.82, 0.80, 0.85, 0.79, 0.84, 0.80, 0.85, 0.82, 0.81, 0.85]
    verdict = verifiers.resampled_t(test_share=0.1)(ours, theirs)
    assert (verdict.statistic, verdict.p_value) == (near(3.75756118447137), near(0.0045018945377863885))


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_ties_are_exact_as_every_arrangement_counted_one_by_one(alternative):
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 5, 6).astype(float), rng.integers(1, 6, 5).astype(float)
    ranked = lambda a, b: stats.rankdata(np.concatenate([a, b]))[: len(a)].sum()  # noqa: E731
    counted = stats.permutation_test((after, before), ranked, n_resamples=np.inf, alternative=alternative)
    expected = counted.pvalue
    if alternative == "two-sided":  # the smaller tail doubled
        tails = [
            stats.permutation_test((after, before), ranked, n_resamples=np.inf, alternative=side).pvalue
            for side in ("greater", "less")
        ]
        expected = min(1.0, 2 * min(tails))
    assert verifiers.mannwhitney(alternative=alternative)(before, after).p_value == near(expected, 1e-12)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_brunner_and_munzel_is_scipys_and_permuted_where_there_are_few(alternative):
    rng = np.random.default_rng(5)
    before, after = rng.normal(size=25), rng.normal(0.5, 2, 18)
    expected = stats.brunnermunzel(before, after, alternative=alternative)
    flipped = {"greater": "less", "less": "greater"}.get(alternative, alternative)
    verdict = verifiers.brunnermunzel(alternative=alternative)(before, after)
    # SciPy names the alternative from the other side.
    assert verdict.p_value == near(stats.brunnermunzel(before, after, alternative=flipped).pvalue)
    assert abs(verdict.statistic) == near(abs(expected.statistic))
    few = verifiers.brunnermunzel(alternative=alternative)(before[:5], after[:5])
    assert few.details == {"exact": True, "arrangements": 252}
    assert round(few.p_value * 252) == near(few.p_value * 252)


def test_dunnett_is_simultaneous_and_agrees_with_scipy():
    told = verifiers.dunnett()(CONTROL, GROWN)
    expected = stats.dunnett(*GROWN.values(), control=CONTROL, random_state=0)
    assert [verdict.p_value for verdict in told.values()] == pytest.approx(expected.pvalue, abs=1e-3)
    assert [verdict.ci[0] for verdict in told.values()] == pytest.approx(expected.confidence_interval().low, abs=1e-3)
    assert told["trt1"].p_adjusted == told["trt1"].p_value


def test_with_one_treatment_dunnett_is_students_test():
    verdict = verifiers.dunnett()(CONTROL, {"only": GROWN["trt2"]})["only"]
    assert verdict.p_value == near(stats.ttest_ind(GROWN["trt2"], CONTROL).pvalue, 1e-9)


def test_friedman_is_that_of_demsar():
    rng = np.random.default_rng(7)
    scores = rng.random((14, 4)).round(2)
    tables = [{f"set{row}": [value] for row, value in enumerate(column)} for column in scores.T]
    told = verifiers.friedman(posthoc="nemenyi")(tables[0], dict(zip("abc", tables[1:], strict=True)))
    omnibus = told["a"].details["omnibus"]
    assert omnibus["chi2"] == near(stats.friedmanchisquare(*scores.T).statistic, 0.02)
    assert omnibus["F"] == near(13 * omnibus["chi2"] / (14 * 3 - omnibus["chi2"]))
    assert omnibus["critical_difference"] == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert sum(omnibus["mean_ranks"].values()) == near(10)


@pytest.mark.parametrize(
    "counts, ci",
    [  # Newcombe 1998, paired: both, baseline alone, treatment alone, neither
        ((36, 2, 12, 0), (0.0569, 0.3404)),
        ((20, 2, 12, 16), (0.0562, 0.3292)),
        ((54, 0, 0, 0), (-0.0664, 0.0664)),
    ],
)
def test_the_interval_of_paired_shares_is_newcombes(counts, ci):
    both, ours, theirs, neither = counts
    before = [1] * both + [1] * ours + [0] * theirs + [0] * neither
    after = [1] * both + [0] * ours + [1] * theirs + [0] * neither
    verdict = verifiers.proportion()(before, after)
    assert verdict.ci == pytest.approx(ci, abs=1e-4)
    assert verdict.statistic == theirs


def test_unpaired_shares_are_fishers_test_and_newcombes_interval():
    before, after = [1] * 48 + [0] * 32, [1] * 56 + [0] * 14
    verdict = verifiers.proportion(paired=False)(before, after)
    assert verdict.ci == pytest.approx((0.0524, 0.3339), abs=1e-4)
    small = verifiers.proportion(paired=False)([1] * 3 + [0] * 7, [1] * 9 + [0])
    assert small.p_value == near(0.019766611097880443, 1e-9)


def test_the_sequential_test_is_its_formula_and_needs_no_library():
    differences = np.array([0.3, -0.1, 0.4, 0.2, 0.5, 0.1])
    verdict = verifiers.sequential()(np.zeros(6), differences)
    t, n = verdict.statistic, 6
    expected = (1 + n) ** -0.5 * ((1 + t**2 / (n - 1)) / (1 + t**2 / ((n - 1) * (1 + n)))) ** (n / 2)
    assert (verdict.e_value, verdict.p_value) == (near(expected), near(min(1, 1 / expected)))


def test_power_is_that_of_r():
    assert verifiers.power(20, 1, 1, paired=False) == near(0.868953027724586, 1e-9)
    assert verifiers.power(20, 0.5, 1) == near(0.564504418439084, 1e-9)
    assert verifiers.sample_size(1, 1, 0.9, paired=False) == near(22.0210884263736)
    assert verifiers.mde(20, 1, 0.9) == near(0.76445790217681)
    assert verifiers.power(10, 100, 1) == verifiers.power(10**6, 1, 1) == 1.0


@pytest.mark.parametrize(
    "method, expected, of_seven",
    [
        ("holm", [0.03, 0.06, 0.06, 0.02], [0.06, 0.16, 0.15, 0.035]),
        ("bh", [0.02, 0.04, 0.04, 0.02], [0.035, 0.07, 0.07, 0.035]),
        ("by", [0.0416666666666667, 0.0833333333333333, 0.0833333333333333, 0.0416666666666667],
         [0.09075, 0.1815, 0.1815, 0.09075]),
        ("bonferroni", [0.04, 0.16, 0.12, 0.02], [0.07, 0.28, 0.21, 0.035]),
        ("none", [0.01, 0.04, 0.03, 0.005], [0.01, 0.04, 0.03, 0.005]),
    ],
)  # fmt: skip
def test_p_values_are_adjusted_as_by_r(method, expected, of_seven):
    given = [0.01, 0.04, 0.03, 0.005, math.nan]
    assert verifiers.adjust(given, method)[:4] == near(expected)
    assert verifiers.adjust(given, method, n=7)[:4] == near(of_seven)
    assert math.isnan(verifiers.adjust(given, method)[4])

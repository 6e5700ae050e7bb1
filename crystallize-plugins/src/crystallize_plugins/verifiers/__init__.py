"""Statistical tests for hypotheses; the name of each is its entry point in the group ``crystallize.verifiers``."""

from __future__ import annotations

from crystallize.hooks import Verdict
from crystallize.hooks.tools import adjust
from crystallize_plugins.verifiers.families import dunnett, friedman
from crystallize_plugins.verifiers.planning import mde, power, sample_size
from crystallize_plugins.verifiers.ranks import brunnermunzel, mannwhitney, wilcoxon
from crystallize_plugins.verifiers.resampling import bootstrap, permutation
from crystallize_plugins.verifiers.sequential import bayes_t, sequential
from crystallize_plugins.verifiers.shares import iqm, performance_profile, proportion
from crystallize_plugins.verifiers.t_tests import noninferiority, paired_t, resampled_t, tost, welch

__all__ = [
    "Verdict",
    "adjust",
    "bayes_t",
    "bootstrap",
    "brunnermunzel",
    "dunnett",
    "friedman",
    "iqm",
    "mannwhitney",
    "mde",
    "noninferiority",
    "paired_t",
    "performance_profile",
    "permutation",
    "power",
    "proportion",
    "resampled_t",
    "sample_size",
    "sequential",
    "tost",
    "welch",
    "wilcoxon",
]

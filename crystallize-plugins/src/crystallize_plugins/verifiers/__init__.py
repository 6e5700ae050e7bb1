"""Statistical tests for hypotheses; the name of each is its entry point in the group ``crystallize.verifiers``."""

from __future__ import annotations

from crystallize_plugins.verifiers.permutation import permutation_test
from crystallize_plugins.verifiers.t_tests import paired_t_test, resampled_t_test, welch_t_test

__all__ = ["paired_t_test", "permutation_test", "resampled_t_test", "welch_t_test"]

"""What is compared: treatments, the hypotheses about them, and the objective of an optimisation."""

from __future__ import annotations

from crystallize.design._hypothesis import Hypothesis, Metrics, Ranker, hypothesis
from crystallize.design._objective import Objective
from crystallize.design._treatment import Treatment, treatment
from crystallize.design._verifier import BoundVerifier, VerifierFactory, VerifierFunction, verifier

__all__ = [
    "BoundVerifier",
    "Hypothesis",
    "Metrics",
    "Objective",
    "Ranker",
    "Treatment",
    "VerifierFactory",
    "VerifierFunction",
    "hypothesis",
    "treatment",
    "verifier",
]

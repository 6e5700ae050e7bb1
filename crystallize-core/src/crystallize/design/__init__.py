"""What is compared: treatments, the hypotheses about them, and the objective of an optimisation."""

from __future__ import annotations

from crystallize.design.hypotheses import Hypothesis, Metrics, Objective, Ranker, hypothesis
from crystallize.design.treatments import Treatment, treatment
from crystallize.design.verifiers import BoundVerifier, VerifierFactory, VerifierFunction, verifier

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

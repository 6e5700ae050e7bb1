"""Distributions that exist for one test."""

from __future__ import annotations

from tests.distributions import install

__all__ = ["install"]

"""Results as people read them: comparisons of the conditions, and tables of them."""

from __future__ import annotations

from crystallize.hooks.tools import ComparisonRow, compare, comparison_table

__all__ = ["ComparisonRow", "compare", "comparison_table"]

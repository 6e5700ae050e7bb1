"""Results as people read them: comparisons of the conditions, and tables of them."""

from __future__ import annotations

from crystallize_plugins.reports._comparison import ComparisonRow, compare
from crystallize_plugins.reports._summary import comparison_table, summary_text
from crystallize_plugins.reports._verdicts import Verdict, adjust_p_values, verdicts

__all__ = [
    "ComparisonRow",
    "Verdict",
    "adjust_p_values",
    "compare",
    "comparison_table",
    "summary_text",
    "verdicts",
]

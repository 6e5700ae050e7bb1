"""Results as people read them: comparisons of the conditions, and tables of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.reports.comparison import ComparisonRow, compare
    from crystallize_plugins.reports.summary import comparison_table, summary_text
    from crystallize_plugins.reports.table import aligned
    from crystallize_plugins.reports.verdict import Verdict, adjust_p_values, verdicts

__all__ = [
    "ComparisonRow",
    "Verdict",
    "adjust_p_values",
    "aligned",
    "compare",
    "comparison_table",
    "summary_text",
    "verdicts",
]

# Whoever wants a table of text does not wait for the statistics.
__getattr__ = lazily(
    __name__,
    {
        "ComparisonRow": "comparison",
        "Verdict": "verdict",
        "adjust_p_values": "verdict",
        "aligned": "table",
        "compare": "comparison",
        "comparison_table": "summary",
        "summary_text": "summary",
        "verdicts": "verdict",
    },
)

"""Results as people read them: comparisons of the conditions, and tables of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.reports.comparison import ComparisonRow, compare
    from crystallize_plugins.reports.summary import comparison_table, summary_text
    from crystallize_plugins.reports.table import aligned

__all__ = [
    "ComparisonRow",
    "aligned",
    "compare",
    "comparison_table",
    "summary_text",
]

# Whoever wants a table of text does not wait for the statistics.
__getattr__ = lazily(
    __name__,
    {
        "ComparisonRow": "comparison",
        "aligned": "table",
        "compare": "comparison",
        "comparison_table": "summary",
        "summary_text": "summary",
    },
)

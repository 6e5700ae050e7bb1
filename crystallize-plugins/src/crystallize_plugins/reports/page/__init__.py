"""The report of a run: one HTML file that says what was claimed, what came out, and how far it may be believed."""

from __future__ import annotations

from crystallize_plugins.reports.page.document import render, write_report

__all__ = ["render", "write_report"]

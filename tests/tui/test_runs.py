"""The third screen: stored runs are listed, found, opened, compared, copied."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.asyncio


@pytest.fixture
def two_runs(experiment):
    """Two stored runs, of different parameters."""
    experiment()
    for override in ("replicates=2", "treatments.plus.delta=5.0"):
        command = [sys.executable, "-m", "crystallize_cli", "run", "walrus", override, "--quiet"]
        subprocess.run(command, check=True, capture_output=True)


async def go_to(somebody, name):
    await somebody.press("g")
    while somebody.application.screen.chosen_name != name:
        await somebody.press("j")


async def test_runs_are_listed_sorted_found_compared_and_copied(folder, two_runs, person):
    async with person((120, 40)) as somebody:
        await somebody.press("3")
        text = await somebody.sees("walrus@v0", "walrus@v1", "verdict", "2 runs")
        assert text.index("walrus@v1") < text.index("walrus@v0"), "the newest comes first"
        await somebody.press("i")
        await somebody.sees("sort: started ▲")
        text = somebody.text()
        assert text.index("walrus@v0") < text.index("walrus@v1")

        await go_to(somebody, "walrus@v1")
        await somebody.press("d")
        await somebody.sees("walrus@v0 → walrus@v1", "parameters", "1.0 → 5.0", "results")
        await somebody.press("Y")
        await somebody.sees("copied, 1 line")
        assert (folder / ".crystallize" / "copied.md").read_text() == "crystallize diff walrus@v0 walrus@v1\n"
        await somebody.back()

        await somebody.press("c")
        await somebody.sees("mark the runs with space")
        await somebody.press("space")
        await go_to(somebody, "walrus@v0")
        await somebody.press("space", "c")
        await somebody.sees("Compare", "plus.delta")
        await somebody.back()

        await somebody.sees("✓ plus is more", " value ", " 11 ", " 8 ")
        await somebody.press("s", "s", "s")
        await somebody.sees("sort: value ▲")
        text = somebody.text()
        assert text.index("walrus@v0") < text.index("walrus@v1")
        await somebody.press("slash", *"complete value>10")
        await somebody.sees("1 of 2 runs")
        assert somebody.application.screen.table.row_count == 1
        await somebody.press("escape")
        await somebody.sees("2 runs")


async def test_an_opened_run_has_panes_and_a_report(folder, two_runs, person):
    async with person((120, 40)) as somebody:
        await somebody.press("3")
        await somebody.sees("walrus@v1")
        await somebody.press("enter")
        await somebody.sees("Summary", "Plots", "Tree", "Files", "Errors", "plus is more")
        await somebody.press("right_square_bracket")
        await somebody.sees("●", "baseline")
        await somebody.press("right_square_bracket")
        await somebody.sees("replicate 0", "FitStep")
        await somebody.press("right_square_bracket")
        await somebody.sees("baseline/results.json")
        await somebody.press("slash", *"run.db", "enter")
        assert "results.json" not in somebody.text()
        await somebody.press("escape")
        await somebody.sees("baseline/results.json")
        await somebody.press("y")
        await somebody.sees("copied, ")
        assert "run.db" in (folder / ".crystallize" / "copied.md").read_text()
        await somebody.press("b")
        await somebody.sees("report.html")
        assert (folder / "data/walrus/v1/report.html").stat().st_size > 1000
        await somebody.back()
        await somebody.sees("walrus@v0")

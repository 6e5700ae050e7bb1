"""What every executor keeps, and what this one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from crystallize_window import Window

from crystallize import BasePlugin
from crystallize.testing import ExecutorConformance, run_sample

if TYPE_CHECKING:
    from crystallize.hooks import Cell, CellOutcome


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def plugin(self) -> Window:
        return Window(size=2)


class Order(BasePlugin):
    neutral = True

    def __init__(self) -> None:
        self.cells: list[Cell] = []

    def collect(self, outcome: CellOutcome) -> None:
        self.cells.append(outcome.cell)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_outcomes_come_in_the_order_of_the_cells(size: int) -> None:
    alone, windowed = Order(), Order()
    run_sample(alone, replicates=5)
    run_sample(windowed, ("window", {"size": size}), replicates=5)
    assert windowed.cells == alone.cells

"""An executor's loop that plain code and an event loop can both iterate over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crystallize.results.outcome import CellOutcome

__all__ = ["EitherWay"]


class EitherWay(ABC):
    """A loop that waits by blocking; in an event loop a helper thread does the waiting.

    Attributes
    ----------
    stopped : bool
        Whether no more cells are to be run.
    hands_over : bool
        Whether what is finished by then is still wanted.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.hands_over = False

    @abstractmethod
    def outcomes(self) -> Iterator[CellOutcome | list[CellOutcome]]:
        """Run the cells."""

    @abstractmethod
    def wake(self) -> None:
        """Have a blocked `outcomes` look at `stopped`; called from another thread."""

    def __iter__(self) -> Iterator[CellOutcome | list[CellOutcome]]:
        return self.outcomes()

    def __aiter__(self) -> AsyncIterator[CellOutcome | list[CellOutcome]]:
        # Only here: a program without an event loop is spared what takes a twentieth of a second to import.
        from crystallize_plugins.execution.waiting_aside import outcomes_of

        return outcomes_of(self)

"""`Standing`: what the record of a run says of the workers of a cluster, and when nobody is left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerMismatchError, WorkerStartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize_plugins.execution.remote.ledger import Ledger

__all__ = ["Standing"]

_LOGGER = logging.getLogger("crystallize")


class Standing:
    """Notes who was opened and who was refused.

    Parameters
    ----------
    engine : str
        As messages say it, such as ``"Dask"``.
    ledger : Ledger
    facts : dict
        Gets what the record says.
    """

    def __init__(self, engine: str, ledger: Ledger, facts: dict[str, Any]) -> None:
        self._engine = engine
        self._ledger = ledger
        self._facts = facts
        self._said: set[str] = set()
        self._refusal: BaseException | None = None

    def opened(self, name: str, host: str, drift: Sequence[str]) -> None:
        """Note a site, and warn of libraries that differ."""
        self._ledger.workers.setdefault(name, {"host": host, "cells": 0, "seconds": 0.0, "losses": 0})
        if drift:
            self._facts.setdefault("drift", {})[name] = list(drift)
            _LOGGER.warning(
                "%s has other libraries than this program, on which the last digits of results may depend: %s",
                name,
                "; ".join(drift),
            )

    def refuse(self, worker: str, reason: Any) -> None:
        """Say of a worker why it gets no cells any more."""
        if isinstance(reason, ImportError):
            text = f"{type(reason).__name__}: {reason}"
            reason = WorkerMismatchError(
                f"the {self._engine} worker {worker} has no Crystallize, or a part of it is missing: {text}. Install "
                "there what this program has, and start the worker again",
                worker=worker,
                differences=[text],
            )
        self._facts.setdefault("refused", {})[worker] = list(
            getattr(reason, "differences", ()) or [f"{type(reason).__name__}: {reason}"]
        )
        self._refusal = reason
        _LOGGER.warning("the %s worker %s gets no cells: %s", self._engine, worker, reason)

    def nobody_left(self) -> BaseException:
        """Return what to raise where every worker was refused."""
        if isinstance(self._refusal, (WorkerMismatchError, WorkerStartError)):
            return self._refusal
        error = WorkerStartError(f"no {self._engine} worker can run cells: {self._refusal}")
        error.__cause__ = self._refusal
        return error

    def say_once(self, text: str, *arguments: Any) -> None:
        """Log a warning that was not logged yet."""
        if text % arguments not in self._said:
            self._said.add(text % arguments)
            _LOGGER.warning(text, *arguments)

    def record(self, version: str) -> None:
        """Put the account of this run into the record."""
        self._facts.update(
            version=version,
            workers=[{"name": name, **facts} for name, facts in self._ledger.workers.items()],
            losses=self._facts.get("losses", 0) + self._ledger.losses,
        )
        self._facts.setdefault("refused", {})
        self._facts.setdefault("drift", {})

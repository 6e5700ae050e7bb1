"""Seeding the global generators of libraries that are imported: the entry-point group ``crystallize.seeders``."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from crystallize.errors import PluginImportError, RandomnessError
from crystallize.hooks import find_plugins, load_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.hooks import PluginRecord

__all__ = ["GROUP", "Seeders", "installed_seeders", "seed_torch"]

GROUP = "crystallize.seeders"
"""Each entry point is called what its library is imported as, and leads to a function ``seed(seed: int)``."""

_LOGGER = logging.getLogger("crystallize")


def installed_seeders() -> tuple[PluginRecord, ...]:
    """Return the seeders that are installed, in the order of their libraries' names; nothing is imported."""
    return find_plugins(GROUP)


def seed_torch(seed: int) -> None:
    """Seed PyTorch's global generators, those of its devices included; a device that is not in use yet when it is.

    Parameters
    ----------
    seed : int
    """
    manual_seed = getattr(sys.modules.get("torch"), "manual_seed", None)
    if manual_seed is not None:  # while another thread imports it, it is there in part
        manual_seed(seed)


class Seeders:
    """Calls the seeders of those libraries that this process has imported.

    Parameters
    ----------
    records : sequence of PluginRecord
        Those that are installed.
    """

    def __init__(self, records: Sequence[PluginRecord]) -> None:
        self.records = tuple(records)
        self._loaded: dict[str, Callable[[int], Any]] = {}
        self._begun = False
        self._lock = threading.Lock()

    def seed(self, seed: int) -> None:
        """Seed every library that is imported by now.

        Raises
        ------
        PluginImportError, PluginConflictError
            A seeder cannot be imported, or two distributions have one for the same library.
        RandomnessError
            A seeder failed.
        """
        modules = sys.modules
        for record in self.records:
            if record.name not in modules:
                continue
            seeder = self._loaded.get(record.name) or self._load(record)
            try:
                seeder(seed)
            except Exception as error:
                raise RandomnessError(
                    f"the seeder of {record.name} that {record.origin} provides failed for seed {seed}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        self._begun = True

    def _load(self, record: PluginRecord) -> Callable[[int], Any]:
        with self._lock:
            known = self._loaded.get(record.name)
            if known is not None:
                return known
            found = load_plugin(record.name, GROUP)
            if not callable(found):
                raise PluginImportError(
                    f"the seeder of {record.name} that {record.origin} provides is a {type(found).__name__}: its entry "
                    f"point {record.value} must lead to a function of the seed",
                    plugin=record.name,
                    distribution=record.distribution,
                    version=record.version,
                )
            if self._begun:
                _LOGGER.warning(
                    "%s was imported while cells ran, so what the first of them drew from its global generator was not "
                    "seeded: import it where the program begins",
                    record.name,
                )
            seeder: Callable[[int], Any] = found
            self._loaded[record.name] = seeder
            return seeder

    def described(self) -> list[Mapping[str, Any]]:
        """Describe which there are, as plain data for the record of a run."""
        return [
            {
                "library": record.name,
                "distribution": record.distribution,
                "version": record.version,
                "entry_point": record.value,
            }
            for record in self.records
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return Seeders, (self.records,)

"""Stored runs: `ArtifactPlugin` writes them, `open_run` and `list_runs` read them.

| module | its job |
| --- | --- |
| `plugin`, `active` | the hooks; one run from its first moment to its last |
| `layout` | where things lie, names, taking a version |
| `schema`, `database` | the tables; opening them for writing and for reading |
| `writer`, `files` | the one thread that commits; files that survive a loss of power |
| `encoding`, `decoding`, `arrays`, `checksum` | values as bytes and back |
| `cells`, `shapes` | cells as packed records, and what they share |
| `journal`, `optimization` | what an optimiser asked and was told; its trials again |
| `facts`, `documents`, `contents` | what is known before the first cell and at the end; rows as objects again |
| `readable` | the JSON files |
| `stored`, `reopen` | one stored run; finding them |
| `earlier`, `resume`, `takeover`, `basis` | a stored run beside what is wanted now, and who goes on with it |
| `owner`, `retention` | whether a writer is alive; what is removed |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.artifacts.plugin import ArtifactPlugin
from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.artifacts.decoding import StoredText
    from crystallize_plugins.artifacts.documents import StoredError
    from crystallize_plugins.artifacts.journal import JournalEntry
    from crystallize_plugins.artifacts.optimization import open_optimization
    from crystallize_plugins.artifacts.reopen import list_runs, newest_run, open_run
    from crystallize_plugins.artifacts.stored import StoredRun
    from crystallize_plugins.artifacts.writer import Ticket

__all__ = [
    "ArtifactPlugin",
    "JournalEntry",
    "StoredError",
    "StoredRun",
    "StoredText",
    "Ticket",
    "list_runs",
    "newest_run",
    "open_optimization",
    "open_run",
]

# What is not needed to build an experiment is imported when somebody asks for it.
__getattr__ = lazily(
    __name__,
    {
        "JournalEntry": "journal",
        "StoredError": "documents",
        "StoredRun": "stored",
        "StoredText": "decoding",
        "Ticket": "writer",
        "list_runs": "reopen",
        "newest_run": "reopen",
        "open_optimization": "optimization",
        "open_run": "reopen",
    },
)

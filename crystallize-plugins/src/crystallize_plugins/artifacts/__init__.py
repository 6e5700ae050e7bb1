"""Stored runs: `ArtifactPlugin` writes them, `open_run` and `list_runs` read them.

| room | its job |
| --- | --- |
| `plugin`, `active` | the hooks; one run from its first moment to its last |
| `resume` | which stored cells are kept, which are missing or changed, and who goes on with a run |
| `reading` | stored runs, opened again: outcomes by column, documents, finding runs |
| `database` | ``run.db``: tables, connections, values as typed JSON, and the one writer |
| `files` | names and places, files that survive a loss of power, JSON for people |
| `operations` | every operation by which the store changes a disk |
| `recorded` | what surrounds a run, from its code to its command line |
| `journal`, `optimization` | what an optimiser asked and was told; its trials again |
| `mirror`, `copies` | the run elsewhere: copied while it goes on; fetched |
| `retention` | what is removed |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.artifacts.database.typed_json import StoredText
    from crystallize_plugins.artifacts.database.writer import Ticket
    from crystallize_plugins.artifacts.mirror import MirrorPlugin
    from crystallize_plugins.artifacts.optimization import open_optimization
    from crystallize_plugins.artifacts.plugin import ArtifactPlugin
    from crystallize_plugins.artifacts.reading.documents import StoredError
    from crystallize_plugins.artifacts.reading.stored import StoredRun, list_runs, newest_run, open_run

__all__ = [
    "ArtifactPlugin",
    "MirrorPlugin",
    "StoredError",
    "StoredRun",
    "StoredText",
    "Ticket",
    "list_runs",
    "newest_run",
    "open_optimization",
    "open_run",
]

# What is not needed is imported when somebody asks for it.
__getattr__ = lazily(
    __name__,
    {
        "ArtifactPlugin": "plugin",
        "MirrorPlugin": "mirror",
        "StoredError": "reading.documents",
        "StoredRun": "reading.stored",
        "StoredText": "database.typed_json",
        "Ticket": "database.writer",
        "list_runs": "reading.stored",
        "newest_run": "reading.stored",
        "open_optimization": "optimization",
        "open_run": "reading.stored",
    },
)

"""Cells on other hosts: what every engine that brings them there needs, Dask, Ray and SLURM or your own.

| name | its job |
| --- | --- |
| `pack` | the run as a `Parcel`: the experiment, the project's code, files that are shipped |
| `Site` | on the other host: proves that it has what the run has, and runs batches of cells in fresh processes |
| `Ledger` | in the coordinator: hands out batches, takes outcomes in, once each, and hands out again what was lost |

The engine between them carries a parcel and bytes. `docs/how-to/scale.md` has one in forty lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.execution.remote.ledger import Ledger
    from crystallize_plugins.execution.remote.parcel import Parcel, pack
    from crystallize_plugins.execution.remote.site import Site

__all__ = ["Ledger", "Parcel", "Site", "pack"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, {"Ledger": "ledger", "Parcel": "parcel", "Site": "site", "pack": "parcel"})

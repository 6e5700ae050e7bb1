"""Worker processes: cells go to them in batches, outcomes come back, and a death costs one cell at most.

The face of this package is `Staff`; everything else is how it is done.
"""

from __future__ import annotations

from crystallize_plugins.execution.processes.staff import Staff

__all__ = ["Staff"]

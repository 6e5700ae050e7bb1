"""Graphs of experiments: what one writes, another reads.

| module | its job |
| --- | --- |
| `graph` | `ExperimentGraph`: which experiments there are and which reads from which |
| `planning` | what each of them will run: treatments by name, replicates; what is refused |
| `running` | which can run next, and running them: in the calling thread, in threads and in an event loop |
| `drawing` | the graph as Mermaid text and as SVG |
"""

from __future__ import annotations

from crystallize.experiments.graphs.graph import ExperimentGraph
from crystallize.experiments.graphs.running import GraphResults

__all__ = ["ExperimentGraph", "GraphResults"]

"""Graphs of experiments: what one writes, another reads.

| module | its job |
| --- | --- |
| `_graph` | `ExperimentGraph`: which experiments there are and which reads from which |
| `_planning` | what each of them will run: treatments by name, replicates; what is refused |
| `_schedule` | which can run next, and which no more |
| `_running`, `_branches` | running them, in the calling thread, in threads and in an event loop |
| `_folders` | loading a graph from folders with a config.yaml |
| `_drawing` | the graph as Mermaid text and as SVG |
"""

from __future__ import annotations

from crystallize.experiments.graphs._graph import ExperimentGraph
from crystallize.experiments.graphs._schedule import GraphResults

__all__ = ["ExperimentGraph", "GraphResults"]

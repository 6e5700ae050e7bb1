"""The context of a cell: written once, isolated, with its metrics, artifacts and resources."""

from __future__ import annotations

from crystallize.context.frozen import RESERVED_KEYS, FrozenContext, standalone_context
from crystallize.context.isolation import isolate
from crystallize.context.records import Cell, Event, Metrics
from crystallize.context.resources import ResourceFactory, resource_factory

__all__ = [
    "RESERVED_KEYS",
    "Cell",
    "Event",
    "FrozenContext",
    "Metrics",
    "ResourceFactory",
    "isolate",
    "resource_factory",
    "standalone_context",
]

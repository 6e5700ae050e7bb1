"""References of one experiment to what another writes: ``alias: experiment#output``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crystallize_plugins.config.nodes import MapNode, ScalarNode

if TYPE_CHECKING:
    from crystallize_plugins.config.nodes import Node
    from crystallize_plugins.config.problems import Place

__all__ = ["Reference", "is_reference", "references_of"]


class Reference(NamedTuple):
    """What one experiment reads of another: ``alias: experiment#output`` in its section ``datasource``.

    Attributes
    ----------
    alias : str
        What the data is called in the experiment that reads it.
    experiment : str
        The folder of the other experiment, beside the one that reads.
    output : str
        The alias of the output there.
    place : Place
        Where it is written.
    """

    alias: str
    experiment: str
    output: str
    place: Place


def is_reference(node: Node) -> bool:
    """Whether a value of the section ``datasource`` refers to another experiment."""
    return isinstance(node, ScalarNode) and "#" in node.text


def references_of(root: Node) -> tuple[Reference, ...]:
    """Give the references of a document, in their order."""
    section = root.get("datasource") if isinstance(root, MapNode) else None
    found: list[Reference] = []
    for alias, node in section.pairs() if isinstance(section, MapNode) else ():
        if isinstance(node, ScalarNode) and is_reference(node):
            experiment, _, output = node.text.partition("#")
            found.append(Reference(alias.text, experiment.strip(), output.strip(), node.place))
    return tuple(found)

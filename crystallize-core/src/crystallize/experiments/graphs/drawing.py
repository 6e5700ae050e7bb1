"""A graph as Mermaid text and as SVG: experiments from left to right, the files that are read on the arrows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.experiments.graphs.graph import ExperimentGraph

__all__ = ["mermaid", "svg"]

_CHARACTER = 8.0
_BOX = 34.0
_ROW = 62.0
_MARGIN = 24.0
_GAP = 60.0
_SMALL = 6.6
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>'
)


def mermaid(graph: ExperimentGraph) -> str:
    """Return a Mermaid flowchart."""
    numbers = {name: f"n{number}" for number, name in enumerate(graph.order)}
    lines = ["flowchart LR"]
    if graph.name:
        lines[:0] = ["---", f"title: {_yaml(graph.name)}", "---"]
    lines += [f'    {numbers[name]}["{_entities(name)}"]' for name in numbers]
    edges = graph.edges()
    for name, number in numbers.items():
        for above, files in edges[name].items():
            label = f' -- "{_entities(", ".join(files))}"' if files else ""
            lines.append(f"    {numbers[above]}{label} --> {number}")
    return "\n".join(lines)


def _entities(text: str) -> str:
    # Inside quotes Mermaid still reads markup: whatever is no letter or plain sign goes as a character code.
    return "".join(sign if sign.isalnum() or sign in " ._-,/()" else f"#{ord(sign)};" for sign in text)


def _yaml(text: str) -> str:
    import json

    return json.dumps(text)  # which is YAML, too


@dataclass(slots=True)
class _Spot:
    """A box, or the place at which a long arrow passes a column."""

    name: str | None
    rank: int
    sources: list[_Spot] = field(default_factory=list)
    row: float = 0.0
    x: float = 0.0
    width: float = 0.0

    @property
    def y(self) -> float:
        return _MARGIN + self.row * _ROW + _BOX / 2


def svg(graph: ExperimentGraph) -> str:
    """Return an SVG document."""
    spots, arrows = _placed(graph)
    top = _BOX if graph.name else 0.0
    wide = max(spot.x + spot.width for spot in spots) + _MARGIN
    if graph.name:
        wide = max(wide, len(graph.name) * _CHARACTER + 2 * _MARGIN)
    high = max(spot.y for spot in spots) + _BOX / 2 + _MARGIN + top
    title = escape(graph.name or "A graph of experiments")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}"',
        f'height="{high:.0f}" role="img" font-family="system-ui, sans-serif" font-size="14">',
        f"<title>{title}</title>",
        _TIP,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    if graph.name:
        parts.append(f'<text x="{_MARGIN:.0f}" y="26" font-weight="600" fill="#1f2328">{title}</text>')
    parts.append(f'<g transform="translate(0 {top:.0f})">')
    parts += [_arrow(path, label) for path, label in arrows]
    parts += [_box(spot) for spot in spots if spot.name is not None]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _placed(graph: ExperimentGraph) -> tuple[list[_Spot], list[tuple[list[_Spot], str]]]:
    """Return each experiment its column, the longest way from the left, and a row near those that it reads from."""
    edges = graph.edges()
    boxes: dict[str, _Spot] = {}
    for name in graph.order:
        rank = max((boxes[above].rank + 1 for above in edges[name]), default=0)
        boxes[name] = _Spot(name, rank, width=max(len(name) * _CHARACTER + 28, 70))
    columns: list[list[_Spot]] = [[] for _ in range(max(spot.rank for spot in boxes.values()) + 1)]
    arrows: list[tuple[list[_Spot], str]] = []
    labels: dict[int, int] = {}
    for name, spot in boxes.items():
        columns[spot.rank].append(spot)
        for above, files in edges[name].items():
            path = [boxes[above]]
            for rank in range(boxes[above].rank + 1, spot.rank):
                passing = _Spot(None, rank, [path[-1]])
                columns[rank].append(passing)
                path.append(passing)
            spot.sources.append(path[-1])
            label = ", ".join(files)
            arrows.append(([*path, spot], label))
            gap = boxes[above].rank
            labels[gap] = max(labels.get(gap, 0), len(label))
    left = _MARGIN
    for rank, column in enumerate(columns):
        column.sort(key=lambda spot: _middle(source.row for source in spot.sources))
        for row, spot in enumerate(column):
            spot.row, spot.x = float(row), left
        wide = max(spot.width for spot in column)
        for spot in column:
            # An arrow that passes goes straight on until it is past the boxes.
            spot.width = spot.width or wide
        left += wide + max(labels.get(rank, 0) * _SMALL + 30, _GAP)
    return [spot for column in columns for spot in column], arrows


def _middle(rows: Iterable[float]) -> float:
    found = list(rows)
    return sum(found) / len(found) if found else 0.0


def _box(spot: _Spot) -> str:
    name = escape(spot.name or "")
    return (
        f'<g data-experiment={quoteattr(spot.name or "")}><rect x="{spot.x:.1f}" y="{spot.y - _BOX / 2:.1f}" '
        f'width="{spot.width:.1f}" height="{_BOX:.0f}" rx="6" fill="#f6f8fa" stroke="#57606a"/>'
        f'<text x="{spot.x + spot.width / 2:.1f}" y="{spot.y + 5:.1f}" text-anchor="middle" fill="#1f2328">'
        f"{name}</text></g>"
    )


def _arrow(path: list[_Spot], label: str) -> str:
    first = path[0]
    drawn = [f"M{first.x + first.width:.1f} {first.y:.1f}"]
    x, y = first.x + first.width, first.y
    for spot in path[1:]:
        bend = (x + spot.x) / 2
        drawn.append(f"C{bend:.1f} {y:.1f} {bend:.1f} {spot.y:.1f} {spot.x:.1f} {spot.y:.1f}")
        if spot.name is None:
            drawn.append(f"H{spot.x + spot.width:.1f}")
        x, y = spot.x + spot.width, spot.y
    line = f'<path d="{" ".join(drawn)}" fill="none" stroke="#57606a" marker-end="url(#tip)"/>'
    if not label:
        return line
    near = path[1]
    at_x, at_y = (first.x + first.width + near.x) / 2, (first.y + near.y) / 2
    return (
        f'{line}<text x="{at_x:.1f}" y="{at_y - 5:.1f}" text-anchor="middle" font-size="11" fill="#57606a">'
        f"{escape(label)}</text>"
    )

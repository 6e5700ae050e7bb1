"""The parts that screens are made of: the title, an outline, a table, a text that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import ContentSwitcher, DataTable, Input, Log, Static, Tree

from crystallize.hooks.tools import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.style import Style
    from textual.widget import Widget
    from textual.widgets.tree import TreeNode

__all__ = ["Line", "Outline", "Panes", "Reading", "Table", "Title", "plain"]


def plain(text: object, style: str = "") -> Text:
    """Return text as it is shown: nothing in it steers the terminal or is taken for markup."""
    return Text(printable(str(text)), style=style, no_wrap=True, end="")


class Title(Static):
    """The first line: where this is, and the three screens, which can be clicked."""

    DEFAULT_CSS = """
    Title { height: 1; padding: 0 1; background: $panel; color: $foreground; text-wrap: nowrap; }
    """
    SCREENS = (("1", "Experiments", "experiments"), ("2", "Run", "run"), ("3", "Runs", "runs"))
    ALLOW_SELECT = False

    def __init__(self, current: str, folder: str) -> None:
        self._current = current
        self._folder = printable(folder)
        super().__init__()

    def render(self) -> Content:
        """Return the line: the folder is cut where there is no room for it."""
        words = []
        for key, word, screen in self.SCREENS:
            style = "bold reverse" if screen == self._current else ""
            words.append(
                Content.from_markup(f"[{style} @click=app.go('{screen}')] {key} {word} [/]")
                if style
                else Content.from_markup(f"[@click=app.go('{screen}')] {key} {word} [/]")
            )
        right = Content("").join(words)
        left = Content.assemble(("Crystallize", "bold"), "  ", self._folder)
        room = max(self.size.width - right.cell_length - 1, 0)
        return left.truncate(room, ellipsis=True, pad=True) + " " + right


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an outline.

    Attributes
    ----------
    cells : tuple of Text
        Its columns; the first is the name.
    key : tuple of str
        What it is, by which the cursor finds it again.
    value : object
        What it stands for.
    """

    cells: tuple[Text, ...]
    key: tuple[str, ...]
    value: Any = None


_MOVES: list[BindingType] = [
    Binding("j,down", "cursor_down", "Down", show=False),
    Binding("k,up", "cursor_up", "Up", show=False),
    Binding("pageup", "page_up", "Page up", show=False),
    Binding("pagedown", "page_down", "Page down", show=False),
]


class Outline(Tree[Line], inherit_bindings=False):
    """Lines in columns, below headings that fold; what "enter" and "space" do is said by the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *_MOVES,
        Binding("g,home", "scroll_home", "First", show=False),
        Binding("G,end", "scroll_end", "Last", show=False),
        Binding("h,left", "fold", "Fold", show=False),
        Binding("right", "unfold", "Unfold", show=False),
    ]
    DEFAULT_CSS = """
    Outline { background: $background; padding: 0; scrollbar-size-vertical: 1; }
    Outline:focus { background-tint: transparent; }
    """
    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "

    def __init__(self, **options: Any) -> None:
        super().__init__("", **options)
        self.show_root = False
        self.show_guides = False
        self.guide_depth = 2
        self.auto_expand = False
        self._widths: list[int] = []

    def show(self, headings: Iterable[tuple[Line, Iterable[Line]]]) -> None:
        """Show lines below their headings; what was folded stays so, and the cursor where it was.

        Parameters
        ----------
        headings : iterable of (Line, iterable of Line)
        """
        listed = [(heading, list(lines)) for heading, lines in headings]
        self._measure([(2, heading) for heading, _ in listed] + [(4, line) for _, lines in listed for line in lines])
        folded = {node.data.key for node in self.root.children if node.data and not node.is_expanded}
        if [[heading.key, *(line.key for line in lines)] for heading, lines in listed] == self._shape():
            for node, (heading, lines) in zip(self.root.children, listed, strict=True):
                self._renew(node, heading)
                for child, line in zip(node.children, lines, strict=True):
                    self._renew(child, line)
            return
        at = self.key
        line_before = self.cursor_line
        self.clear()
        for heading, lines in listed:
            node = self.root.add(Text(""), heading, expand=heading.key not in folded)
            for line in lines:
                node.add_leaf(Text(""), line)
        self.root.expand()
        if not (at and self.go(at)):
            self.cursor_line = max(0, min(line_before, self.last_line))

    def go(self, key: tuple[str, ...]) -> bool:
        """Move the cursor to a line; say whether there is one."""
        for node in self._all():
            if node.data and node.data.key == key:
                if node.parent is not None:
                    node.parent.expand()
                self._tree_lines  # noqa: B018 - lines are counted anew
                self.cursor_line = node.line
                return True
        return False

    @property
    def key(self) -> tuple[str, ...]:
        """What the cursor is on; empty where there is nothing."""
        line = self.line
        return () if line is None else line.key

    @property
    def line(self) -> Line | None:
        """The line that the cursor is on."""
        node = self.cursor_node
        return None if node is None else node.data

    def action_fold(self) -> None:
        """Close the heading of what the cursor is on."""
        node = self.cursor_node
        if node is not None and not (node.allow_expand and node.is_expanded):
            node = node.parent
        if node is not None and node is not self.root:
            node.collapse()
            self.move_cursor(node)

    def action_unfold(self) -> None:
        """Open the heading that the cursor is on."""
        if self.cursor_node is not None:
            self.cursor_node.expand()

    def render_label(self, node: TreeNode[Line], base_style: Style, style: Style) -> Text:  # noqa: ARG002 - Textual's signature
        """Return a line in its columns."""
        if node.data is None:
            return Text("")
        first = self._widths[0] if self._widths else 0
        indent = 2 if node.parent is self.root else 4
        prefix = (self.ICON_NODE_EXPANDED if node.is_expanded else self.ICON_NODE) if node.allow_expand else ""
        label = Text(prefix, style=style, no_wrap=True, end="")
        for index, cell in enumerate(node.data.cells):
            width = first - indent if index == 0 else self._widths[index]
            part = cell.copy()
            part.pad_right(max(width - part.cell_len, 0))
            label.append_text(part)
            label.append("  ")
        label.stylize_before(style)
        return label

    def _measure(self, lines: list[tuple[int, Line]]) -> None:
        """Find the width of each column; headings of one cell need no column."""
        self._widths = []
        for indent, line in lines:
            cells = line.cells
            for index, cell in enumerate(cells):
                if index == len(self._widths):
                    self._widths.append(0)
                if len(cells) > 1:
                    self._widths[index] = max(self._widths[index], cell.cell_len + (indent if index == 0 else 0))

    def _shape(self) -> list[list[tuple[str, ...]]]:
        return [
            [each.data.key for each in (node, *node.children) if each.data is not None] for node in self.root.children
        ]

    def _all(self) -> Iterable[TreeNode[Line]]:
        for node in self.root.children:
            yield node
            yield from node.children

    @staticmethod
    def _renew(node: TreeNode[Line], line: Line) -> None:
        if node.data != line:
            node.data = line
            node.refresh()


class Table(DataTable[Text], inherit_bindings=False):
    """A table whose rows are gone through with the keys of lists; what "enter" does is said by the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *_MOVES,
        Binding("g,home", "scroll_top", "First", show=False),
        Binding("G,end", "scroll_bottom", "Last", show=False),
        Binding("h,left", "scroll_left", "Left", show=False),
        Binding("right", "scroll_right", "Right", show=False),
    ]
    DEFAULT_CSS = """
    Table { background: $background; scrollbar-size-vertical: 1; }
    Table:focus { background-tint: transparent; }
    Table > .datatable--header { background: $background; color: $text-muted; text-style: none; }
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", show_row_labels=False, **options)


class Reading(VerticalScroll, can_focus=True):
    """A text that is longer than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "First", show=False),
        Binding("G", "scroll_end", "Last", show=False),
        Binding("h", "scroll_left", "Left", show=False),
    ]
    DEFAULT_CSS = """
    Reading { padding: 0 1; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    Reading > Static { width: 1fr; }
    Reading.-unwrapped { overflow-x: auto; }
    Reading.-unwrapped > Static { width: auto; text-wrap: nowrap; }
    """

    def __init__(self, text: str | Content = "", *, wrap: bool = True, **options: Any) -> None:
        super().__init__(classes="" if wrap else "-unwrapped", **options)
        self._whole = _content(text)
        self._word = ""
        self._body = Static(self._whole, markup=False)
        self.text = self._whole.plain

    def compose(self) -> Iterable[Static]:
        """Hold the text."""
        yield self._body

    def show(self, text: str | Content) -> None:
        """Show another text."""
        self._whole = _content(text)
        self.find(self._word)

    def find(self, word: str) -> None:
        """Show the lines alone that have a word; all for an empty one."""
        self._word = word
        shown = self._whole
        if word:
            lines = shown.split("\n", allow_blank=True)
            shown = Content("\n").join([line for line in lines if word.casefold() in line.plain.casefold()])
        self.text = shown.plain
        self._body.update(shown)


def _content(text: str | Content) -> Content:
    return text if isinstance(text, Content) else Content(printable(text, lines=True))


class Panes(Vertical):
    """Several texts or tables of which one is seen, below their names.

    Parameters
    ----------
    **panes : Widget
        By name, in order.
    """

    DEFAULT_CSS = """
    Panes > #names { height: 1; padding: 0 1; }
    Panes > ContentSwitcher { height: 1fr; }
    Panes > Input { height: 1; border: none; padding: 0 1; display: none; }
    Panes > Input.-shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, **panes: Widget) -> None:
        super().__init__()
        self._panes = panes
        self._counts: dict[str, int] = {}
        for name, pane in panes.items():
            pane.id = f"pane-{name}"
        self.filter = Input(placeholder="lines that have this", compact=True)
        self._names = Static(id="names", markup=False)
        self._switcher = ContentSwitcher(*panes.values(), initial=f"pane-{next(iter(panes))}")

    def compose(self) -> Iterable[Widget]:
        """Put the names above the panes."""
        yield self._names
        yield self._switcher
        yield self.filter

    def on_mount(self) -> None:
        """Show the names."""
        self._renew()

    @property
    def current(self) -> str:
        """The name of the pane that is seen."""
        return (self._switcher.current or "pane-").removeprefix("pane-")

    @property
    def pane(self) -> Widget:
        """The pane that is seen."""
        return self._panes[self.current]

    @property
    def text(self) -> str:
        """What is to be read in the pane that is seen."""
        pane = self.pane
        if isinstance(pane, Log):
            return "\n".join(pane.lines)
        return pane.text if isinstance(pane, Reading) else ""

    def show(self, name: str, text: str | Content) -> None:
        """Show another text in a pane."""
        pane = self._panes[name]
        if isinstance(pane, Reading):
            pane.show(text)

    def go(self, name: str) -> None:
        """Show a pane."""
        had_focus = any(pane.has_focus_within for pane in self._panes.values())
        self._switcher.current = f"pane-{name}"
        if had_focus:
            self.pane.focus()
        self._renew()

    def ask(self) -> None:
        """Ask which lines are to be shown."""
        self.filter.add_class("-shown")
        self.filter.focus()

    def show_all(self) -> bool:
        """Show all lines again; say whether some were left out."""
        was_asked = self.filter.has_class("-shown")
        self.filter.value = ""
        self.filter.remove_class("-shown")
        return was_asked

    def on_input_changed(self) -> None:
        """Show what fits."""
        for pane in self._panes.values():
            if isinstance(pane, Reading):
                pane.find(self.filter.value)

    def on_input_submitted(self) -> None:
        """Go to the lines."""
        self.pane.focus()

    def step(self, by: int) -> None:
        """Show the pane before or after this one."""
        names = list(self._panes)
        self.go(names[(names.index(self.current) + by) % len(names)])

    def count(self, name: str, number: int) -> None:
        """Show a number beside a name."""
        if self._counts.get(name, 0) != number:
            self._counts[name] = number
            self._renew()

    def _renew(self) -> None:
        parts = []
        for name in self._panes:
            number = f" {self._counts[name]}" if self._counts.get(name) else ""
            style = "bold reverse " if name == self.current else ""
            parts.append(Content.from_markup(f"[{style}@click=screen.pane('{name}')] {name}{number} [/]"))
        self._names.update(Content("").join(parts))

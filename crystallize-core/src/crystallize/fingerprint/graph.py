"""From objects to a graph of what refers to what, and the digest of each node in it.

Each object is looked at once, and nothing recurses, so that neither depth nor cycles matter. Functions call each other
in cycles and objects refer back to their owners, so a digest cannot simply be computed from the leaves up. Nodes on
one cycle are refined together, in rounds; the result depends neither on where the walk began nor on the order in which
it went.
"""

from __future__ import annotations

import inspect
import marshal
import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint.functions import describe_source
from crystallize.fingerprint.hashing import new_hash
from crystallize.fingerprint.memo import Guards
from crystallize.fingerprint.project import found_by_name, is_harmless, module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Describe = Callable[..., None]

__all__ = ["Graph", "Ref", "Walk", "are_atoms", "type_name", "written"]

# Text of its own, or the number of a node.
Ref = bytes | int

_ROUNDS = 8


class Graph:
    """Nodes with a head, which says what the node is, and references to others."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.children: list[Sequence[Ref]] = []
        self._unordered: set[int] = set()
        self._digests: dict[int, bytes] = {}

    def reserve(self) -> int:
        """Return the number of a node that will be filled later."""
        self.heads.append(b"")
        self.children.append(())
        return len(self.heads) - 1

    def fill(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Set what a node is; `unordered` children count as a bag."""
        self.heads[node] = head
        self.children[node] = children
        if unordered:
            self._unordered.add(node)

    def add(self, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> int:
        """Make a node."""
        node = self.reserve()
        self.fill(node, head, children, unordered=unordered)
        return node

    def digest(self, ref: Ref) -> bytes:
        """Return the digest of a node and of everything that it refers to."""
        if isinstance(ref, bytes):
            return self._hash(b"text", [ref], unordered=False)
        if ref not in self._digests:
            for cycle in self._cycles(ref):
                self._settle(cycle)
        return self._digests[ref]

    def reachable(self, ref: Ref) -> set[int]:
        """Return the numbers of all nodes that `ref` leads to, its own included."""
        seen: set[int] = set()
        waiting = [ref]
        while waiting:
            node = waiting.pop()
            if isinstance(node, int) and node not in seen:
                seen.add(node)
                waiting.extend(self.children[node])
        return seen

    def _settle(self, cycle: list[int]) -> None:
        """Compute the digests of nodes that all refer to one another; everything else they refer to is known."""
        alone = len(cycle) == 1 and cycle[0] not in self.children[cycle[0]]
        if alone:
            self._digests[cycle[0]] = self._node(cycle[0], self._digests)
            return
        known = dict.fromkeys(cycle, b"cycle")
        for _ in range(min(len(cycle), _ROUNDS)):
            known = {node: self._node(node, known) for node in cycle}
        # Whatever changes anywhere on the cycle changes all of it, however far away.
        whole = self._hash(b"cycle", list(known.values()), unordered=True)
        for node in cycle:
            self._digests[node] = self._hash(b"member", [known[node], whole], unordered=False)

    def _node(self, node: int, known: dict[int, bytes]) -> bytes:
        parts = [
            b"t" + child if isinstance(child, bytes) else b"d" + (known.get(child) or self._digests[child])
            for child in self.children[node]
        ]
        return self._hash(self.heads[node], parts, unordered=node in self._unordered)

    @staticmethod
    def _hash(head: bytes, parts: Iterable[bytes], *, unordered: bool) -> bytes:
        digest = new_hash()
        digest.update(b"%d:%b" % (len(head), head))
        for part in sorted(parts) if unordered else parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.digest()

    def _cycles(self, root: int) -> list[list[int]]:
        """Group the nodes under `root` into cycles, those that are referred to first (Tarjan, without recursion)."""
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on_stack: set[int] = set()
        cycles: list[list[int]] = []
        work: list[tuple[int, int]] = [(root, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                order[node] = low[node] = len(order)
                stack.append(node)
                on_stack.add(node)
            children = self.children[node]
            while at < len(children):
                child = children[at]
                at += 1
                if isinstance(child, bytes) or child in self._digests:
                    continue
                if child not in order:
                    work.append((node, at))
                    work.append((child, 0))
                    break
                if child in on_stack:
                    low[node] = min(low[node], order[child])
            else:
                if low[node] == order[node]:
                    cycle = [stack.pop()]
                    while cycle[-1] != node:
                        cycle.append(stack.pop())
                    on_stack.difference_update(cycle)
                    cycles.append(cycle)
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
        return cycles


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
are_atoms = _ATOMS.issuperset
_LONG = 4096
_SHORT = 64
_DEPTH = 3
# Where the attributes stand among what is written down of an object.
_STATE = 3
_HEADS: dict[type, bytes] = {list: b"list", tuple: b"tuple", dict: b"dict"}


class Walk:
    """One walk over everything that some value refers to.

    Parameters
    ----------
    describe : callable
        ``describe(walk, node, value)`` says what a value consists of, by calling `fill` or one like it.

    Attributes
    ----------
    graph : Graph
    named : dict of str to Ref
        Project functions, classes, modules and values that code refers to, by qualified name.
    objects : dict of str to object
        The same names, and what they stand for; of a module that is known by its source, the path of the file.
    guards : Guards
        Where it looked for what could change.
    """

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self.graph = Graph()
        self.named: dict[str, Ref] = {}
        self.objects: dict[str, Any] = {}
        self.guards = Guards(written)
        self._known: dict[int, int] = {}
        self._sources: dict[str, int] = {}
        self._globals: dict[str, dict[int, str]] = {}
        self._alive: list[Any] = []
        self._pending: list[tuple[Describe, int, Any, str]] = []
        self._label = ""
        # Nodes that are nothing but containers, objects of libraries, and what has no content.
        self._plain: set[int] = set()
        self._owners: dict[int, tuple[type, dict[str, Any], str]] = {}
        self._live: dict[int, str] = {}
        self._kinds: list[tuple[int, type]] = []
        self._asks_for_subclasses = False

    def start(self, value: Any, label: str) -> Ref:
        """Walk over `value` and all that it refers to."""
        root = self.ref(value, label)
        self._work()
        while self._asks_for_subclasses and self._kinds:
            self._add_subclasses(*self._kinds.pop())
            self._work()
        self._settle_owners()
        self._work()
        return root

    def _work(self) -> None:
        while self._pending:
            describe, node, value, self._label = self._pending.pop()
            describe(self, node, value)

    def untracked(self, root: Ref) -> list[str]:
        """Return what under `root` is known by its type alone, and where it was met."""
        reached = self.graph.reachable(root)
        return sorted({text for node, text in self._live.items() if node in reached})

    # -- for those who describe -------------------------------------------------------------------

    def ref(self, value: Any, label: str | None = None) -> Ref:
        """Refer to a value: short plain ones say at once what they are, others are looked at later."""
        plain = written(value)
        if plain is not None:
            if type(value) not in _ATOMS and self.guards.hold:
                self.guards.plain(value, plain)
            return plain
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = self.graph.reserve()
            self._alive.append(value)  # so that no other object takes its id
            self._pending.append((self._describe, known, value, label or self._label))
        return known

    def source(self, name: str, file: str) -> int:
        """Refer to a module by its source."""
        if name not in self._sources:
            node = self._sources[name] = self.graph.reserve()
            self._pending.append((describe_source, node, (name, file), self._label))
        return self._sources[name]

    def name(self, name: str, ref: Ref, stands_for: Any) -> None:
        """Note what a qualified name of the project stands for: a digest, and the object itself."""
        if name not in self.named:
            self.named[name] = ref
            self.objects[name] = stands_for

    def fill(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Set what a node is."""
        self.graph.fill(node, head, children, unordered=unordered)

    def fill_plain(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Note that a node is a container and nothing else."""
        self._plain.add(node)
        self.graph.fill(node, head, children, unordered=unordered)

    def global_name(self, value: Any) -> str | None:
        """Return the name under which the module of an object's class holds that very object, or None.

        It is that library's own, like the generator behind ``random.random``, and its state is nobody's content.
        """
        module = module_of(type(value))
        names = self._globals.get(module)
        if names is None:
            names = self._globals[module] = {id(v): k for k, v in vars(sys.modules.get(module, object)).items()}
        name = names.get(id(value))
        return name and f"{module}.{name}"

    def pair(self, key: Any, value: Any) -> int:
        """Refer to a key and its value."""
        node = self.graph.reserve()
        self.fill_plain(node, b"pair", [self.ref(key), self.ref(value)])
        return node

    def own(self, node: int, kind: type, state: dict[str, Any]) -> None:
        """Note that a node is an object of a library's class, with such attributes."""
        self._owners[node] = (kind, state, self._label)

    def kind(self, node: int, kind: type) -> None:
        """Note that a node is a class of the project, which code may ask for its subclasses."""
        self._kinds.append((node, kind))

    def asks_for_subclasses(self) -> None:
        """Note that some code asks a class for its subclasses; which one, nobody knows: so those of all count."""
        self._asks_for_subclasses = True
        self.guards.hold = False  # none of the places that are guarded tells of a new one

    def _add_subclasses(self, node: int, kind: type) -> None:
        found: list[type] = type.__subclasses__(kind)
        # Not those that a decorator has replaced, or a cell of a notebook: the collector takes them at any time.
        found = [each for each in found if "<locals>" in each.__qualname__ or found_by_name(each) is each]
        children = [*self.graph.children[node], self.bag([self.ref(each) for each in found])]
        self.fill(node, self.graph.heads[node], children)

    def bag(self, children: Sequence[Ref]) -> int:
        """Refer to several things whose order means nothing."""
        node = self.graph.reserve()
        self.fill_plain(node, b"bag", children, unordered=True)
        return node

    def fill_live(self, node: int, kind: type, why: str = "") -> None:
        """Note that a node cannot be followed: it runs, is open, or hides what it is. It is known by its type."""
        self.note_live(node, kind, why)
        self.fill(node, b"live", [self.ref(type_name(kind))])

    def note_live(self, node: int, kind: type, why: str = "") -> None:
        """Note that something in an object cannot be followed, beside what its description says."""
        if not is_harmless(kind):
            self._live[node] = f"{self._label}: {type_name(kind)}" + (f" ({why})" if why else "")

    def unknown(self, where: str, what: str) -> int:
        """Refer to something that code gets at in a way that cannot be followed."""
        node = self.graph.reserve()
        self.fill_unknown(node, what, where)
        return node

    def fill_unknown(self, node: int, what: str, where: str = "") -> None:
        """Note that a node is something that nobody can know beforehand."""
        self._live[node] = f"{where or self._label}: {what}"
        self.fill(node, b"unknown", [self.ref(what)])

    def _settle_owners(self) -> None:
        """Know an object of a library that holds something live (a client, a pool) by what it was made with.

        What else is in it are counters and connections, which differ from run to run.
        """
        for owner, (kind, state, label) in self._owners.items():
            children = list(self.graph.children[owner])
            parameters = _parameters(kind)
            if parameters is not None and self._holds_live(children[_STATE]):
                children[_STATE] = self.ref({name: v for name, v in state.items() if name.lstrip("_") in parameters})
                self.fill(owner, self.graph.heads[owner], children)
                self._live[owner] = f"{label}: {type_name(kind)}"

    def _holds_live(self, ref: Ref) -> bool:
        """Return whether something without content is in a container, or in a container in it."""
        waiting, seen = [ref], set()
        while waiting:
            node = waiting.pop()
            if isinstance(node, int) and node in self._live:
                return True
            if isinstance(node, int) and node in self._plain and node not in seen:
                seen.add(node)
                waiting.extend(self.graph.children[node])
        return False


def _parameters(kind: type) -> set[str] | None:
    """Return the names of a constructor's parameters, or None where it takes any, or does not tell."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def written(value: Any) -> bytes | None:
    """Write down what is small and made of nothing but built-in values; give None for anything else."""
    return _plain(value, _DEPTH)


def _plain(value: Any, depth: int) -> bytes | None:
    kind = type(value)
    if kind in _ATOMS:
        return _atom(value)
    if depth == 0 or (kind is not list and kind is not tuple and kind is not dict) or len(value) > _SHORT:
        return None
    items = value
    if kind is dict:
        if not all(type(key) is str for key in value):
            return None
        names = sorted(value)
        items = [names, *map(value.__getitem__, names)]
    if are_atoms(map(type, items)):
        return _HEADS[kind] + marshal.dumps(items, 0)
    parts = [_plain(item, depth - 1) for item in items]
    if None in parts:
        return None
    return _HEADS[kind] + marshal.dumps(parts, 0)


def _atom(value: Any) -> bytes:
    if isinstance(value, (str, bytes)) and len(value) > _LONG:
        digest = new_hash()
        digest.update(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))
        return b"%b#%b" % (type(value).__name__.encode(), digest.digest())
    return marshal.dumps(value, 0)


def type_name(kind: type) -> str:
    """Return a type's name with that of its module."""
    return f"{module_of(kind)}.{kind.__qualname__}"

"""A graph of what refers to what, and the digest of each node in it.

Functions call each other in circles and objects refer back to their owners, so a digest cannot simply be
computed from the leaves up. Nodes on one circle are refined together, in rounds; the result depends neither
on where the walk began nor on the order in which it went.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Graph", "Ref", "new_hash"]

# Text of its own, or the number of a node.
Ref = bytes | int

_ROUNDS = 8


def new_hash() -> hashlib._Hash:
    """Start a digest: SHA-256, which processors compute at memory speed."""
    return hashlib.sha256(usedforsecurity=False)


class Graph:
    """Nodes with a head, which says what the node is, and references to others."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.children: list[Sequence[Ref]] = []
        self._unordered: set[int] = set()
        self._digests: dict[int, bytes] = {}

    def reserve(self) -> int:
        """Give the number of a node that will be filled later."""
        self.heads.append(b"")
        self.children.append(())
        return len(self.heads) - 1

    def fill(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Say what a node is; `unordered` children count as a bag."""
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
        """Give the digest of a node and of everything that it refers to."""
        if isinstance(ref, bytes):
            return self._hash(b"text", [ref], unordered=False)
        if ref not in self._digests:
            for circle in self._circles(ref):
                self._settle(circle)
        return self._digests[ref]

    def reachable(self, ref: Ref) -> set[int]:
        """Give the numbers of all nodes that `ref` leads to, its own included."""
        seen: set[int] = set()
        waiting = [ref]
        while waiting:
            node = waiting.pop()
            if isinstance(node, int) and node not in seen:
                seen.add(node)
                waiting.extend(self.children[node])
        return seen

    def _settle(self, circle: list[int]) -> None:
        """Compute the digests of nodes that all refer to one another; everything else they refer to is known."""
        alone = len(circle) == 1 and circle[0] not in self.children[circle[0]]
        if alone:
            self._digests[circle[0]] = self._node(circle[0], self._digests)
            return
        known = dict.fromkeys(circle, b"circle")
        for _ in range(min(len(circle), _ROUNDS)):
            known = {node: self._node(node, known) for node in circle}
        # Whatever changes anywhere on the circle changes all of it, however far away.
        whole = self._hash(b"circle", list(known.values()), unordered=True)
        for node in circle:
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

    def _circles(self, root: int) -> list[list[int]]:
        """Group the nodes under `root` into circles, those that are referred to first (Tarjan, without recursion)."""
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on_stack: set[int] = set()
        circles: list[list[int]] = []
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
                    circle = [stack.pop()]
                    while circle[-1] != node:
                        circle.append(stack.pop())
                    on_stack.difference_update(circle)
                    circles.append(circle)
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
        return circles

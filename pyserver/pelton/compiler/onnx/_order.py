"""Nodes in an order in which every value is defined before it is used."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pelton.compiler.onnx.graph import Node

__all__ = ["in_order", "one_cycle"]


def in_order(nodes: Sequence[Node]) -> list[int] | None:
    """The indices of the nodes in an order that works, as close as can be to the one given; None
    where there is a cycle. (Kahn, Topological sorting of large networks, CACM 5, 1962.)"""
    producer = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    waiting = [0] * len(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for source in {producer[name] for name in node.uses if name in producer}:
            waiting[index] += 1
            users[source].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    return order if len(order) == len(nodes) else None


def one_cycle(nodes: Sequence[Node]) -> list[int]:
    """The indices of nodes that wait for each other, in turn. REQUIRES: `in_order` found none."""
    producer = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    sources = [[producer[name] for name in node.uses if name in producer] for node in nodes]
    done = [False] * len(nodes)
    changed = True
    while changed:
        changed = False
        for index, below in enumerate(sources):
            if not done[index] and all(done[source] for source in below):
                done[index] = changed = True
    at = done.index(False)
    path: list[int] = []
    while at not in path:
        path.append(at)
        at = next(source for source in sources[at] if not done[source])
    return path[path.index(at) :]

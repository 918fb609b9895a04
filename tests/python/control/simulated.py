"""A simulated engine behind the gates: one worker, batches by level, deadline and arrival, what is
late dropped before it runs. Time is a number; nothing waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pelton.bridge.control import GateRequest, ModelGates, RequestEnd
from pelton.errors import DeadlineExceeded, Error, QueueFull

MS = 1_000_000
NO_DEADLINE = 2**63 - 1
ROWS_MAX, TOKENS_MAX = 32, 1024
_OLDEST_FIRST_PERIOD = 8


@dataclass
class Call:
    """A request: what it brings, and how it ended."""

    arrival: int
    rows: int
    tokens: int
    deadline: int = NO_DEADLINE
    priority: int = 2
    gate: GateRequest = field(init=False)
    end: str = ""
    ended: int = 0

    def __post_init__(self) -> None:
        self.gate = GateRequest(
            rows=self.rows,
            tokens=self.tokens,
            arrival=self.arrival,
            deadline_ns=self.deadline,
            priority=self.priority,
        )


@dataclass
class Cost:
    """The true time of a batch, which the gates must learn."""

    fixed_ns: float
    token_ns: float
    noise: float = 0.0

    def of(self, tokens: int, chance: random.Random) -> int:
        spread = 1 + self.noise * (2 * chance.random() - 1)
        return int((self.fixed_ns + self.token_ns * tokens) * spread)


class Engine:
    """`advance` runs batches until a moment."""

    def __init__(self, cost: Cost, seed: int = 1) -> None:
        self.cost = cost
        self.queue: list[Call] = []
        self.free_at = 0
        self.batches = 0
        self.chance = random.Random(seed)

    def pick(self, now: int) -> list[Call]:
        """Takes the next batch from the queue."""
        order = sorted(self.queue, key=lambda call: (call.priority, call.deadline, call.arrival))
        self.batches += 1
        if order and self.batches % _OLDEST_FIRST_PERIOD == 0:
            oldest = min(order, key=lambda call: call.arrival)
            order.remove(oldest)
            order.insert(0, oldest)
        batch: list[Call] = []
        rows = tokens = 0
        for call in order:
            fits = rows + call.rows <= ROWS_MAX and tokens + call.tokens <= TOKENS_MAX
            if not batch or fits:
                batch.append(call)
                rows += call.rows
                tokens += call.tokens
        for call in batch:
            self.queue.remove(call)
        return batch

    def drop_late(self, now: int) -> list[Call]:
        late = [call for call in self.queue if call.deadline <= now]
        self.queue = [call for call in self.queue if call.deadline > now]
        return late

    def would_answer(self, call: Call, now: int) -> bool:
        """Whether the call would be answered in time if it were queued now and nothing else
        came."""
        twin = Engine(Cost(self.cost.fixed_ns, self.cost.token_ns))
        twin.queue = [*self.queue, call]
        twin.batches = self.batches
        moment = max(self.free_at, now)
        while call in twin.queue:
            if call in twin.drop_late(moment):
                return False
            batch = twin.pick(moment)
            moment += twin.cost.of(sum(one.tokens for one in batch), twin.chance)
        return moment <= call.deadline


def replay(
    gates: ModelGates,
    engine: Engine,
    calls: Iterable[Call],
    on_refusal: Callable[[Call], None] = lambda call: None,
) -> None:
    """Sends the calls, which ascend by arrival, through the gates to the engine, to the end."""
    for call in calls:
        _advance(gates, engine, call.arrival)
        try:
            gates.before(call.gate, call.arrival)
        except (QueueFull, DeadlineExceeded) as error:
            _end(call, error, call.arrival)
            on_refusal(call)
            continue
        engine.queue.append(call)
    _advance(gates, engine, NO_DEADLINE)


def _end(call: Call, error: Error, now: int) -> None:
    assert call.end == ""
    call.end, call.ended = error.code, now


def _advance(gates: ModelGates, engine: Engine, until: int) -> None:
    while engine.queue:
        start = max(engine.free_at, min(call.arrival for call in engine.queue))
        if start >= until:
            return
        for call in engine.drop_late(start):
            gates.after(call.gate, RequestEnd.EXPIRED, start)
            call.end, call.ended = "expired", start
        batch = engine.pick(start)
        if not batch:
            continue
        tokens, rows = sum(call.tokens for call in batch), sum(call.rows for call in batch)
        end = start + engine.cost.of(tokens, engine.chance)
        engine.free_at = end
        for call in batch:
            gates.ran(
                call.gate, queued=call.arrival, started=start, ended=end, rows=rows, tokens=tokens
            )
            gates.after(call.gate, RequestEnd.OK, end)
            call.end, call.ended = ("ok" if end <= call.deadline else "late"), end

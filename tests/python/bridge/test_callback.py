"""Callables in the engine: batches, errors, deadlines, and nothing that waits for itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from pelton.bridge import NO_DEADLINE, Engine, LoadOptions, Payload
from pelton.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    QueueFull,
    Unavailable,
)

OPTIONS = {
    "threads": 1,
    "batch_rows_max": 64,
    "batch_tokens_max": 64,
    "batch_wait_us_max": 0,
    "queue_rows_max": 4096,
}
LIMIT_S = 60


class Cell:
    """What a request brings, and where its answer goes."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.answer: int | None = None


def double(cells: list[Cell]) -> None:
    for cell in cells:
        cell.answer = 2 * cell.value


def payload(cell: object, **changes) -> Payload:
    facts = {"value": cell, "rows": 1, "priority": 2, "deadline_ns": NO_DEADLINE}
    return Payload(**{**facts, **changes})


@pytest.fixture
def engine():
    engine = Engine(threads=2, queue_requests_max=256)
    yield engine
    engine.close()


def load(engine: Engine, function, **changes):
    return engine.load_callback(function, LoadOptions(**{**OPTIONS, **changes}))


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))


async def until(condition) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


def over(model, *outcomes: str) -> int:
    counts = model.stats()["requests"]
    return sum(counts[outcome] for outcome in outcomes)


class Held:
    """A callable whose first call lasts until `go`."""

    def __init__(self, then=double) -> None:
        self.runs = threading.Event()
        self.go = threading.Event()
        self.then = then
        self.batches: list[list[Cell]] = []

    def __call__(self, cells: list[Cell]) -> None:
        self.batches.append(list(cells))
        self.runs.set()
        assert self.go.wait(LIMIT_S)
        self.then(cells)


def test_callers_of_all_kinds_get_their_answers(engine) -> None:
    model = load(engine, double)

    def blocking(start: int) -> bool:
        cells = [Cell(start + n) for n in range(50)]
        for cell in cells:
            model.run(payload(cell))
        return all(cell.answer == 2 * cell.value for cell in cells)

    async def many(start: int) -> bool:
        cells = [Cell(start + n) for n in range(50)]
        await asyncio.gather(*(model.infer(payload(cell)) for cell in cells))
        return all(cell.answer == 2 * cell.value for cell in cells)

    with ThreadPoolExecutor(6) as pool:
        threads = [pool.submit(blocking, 1000 * n) for n in range(3)]
        loops = [pool.submit(run, many(10_000 * n)) for n in range(3)]
        assert all(future.result(LIMIT_S) for future in [*threads, *loops])
    assert model.stats()["requests"]["ok"] == 300
    assert model.snapshot().queue_rows == 0


def test_what_waits_makes_one_batch_up_to_its_rows(engine) -> None:
    held = Held()
    model = load(engine, held, batch_rows_max=8)

    async def main() -> None:
        first = asyncio.ensure_future(model.infer(payload(Cell(0))))
        await until(held.runs.is_set)
        rest = [asyncio.ensure_future(model.infer(payload(Cell(n), rows=3))) for n in range(4)]
        await until(lambda: model.stats()["queue_rows"] == 12)
        held.go.set()
        await asyncio.gather(first, *rest)

    run(main())
    assert [len(batch) for batch in held.batches] == [1, 2, 2]


def test_an_error_fails_its_batch_with_its_text_and_code(engine) -> None:
    class Refused(Exception):
        status_code = 1

    def odd(cells: list[Cell]) -> None:
        if cells[0].value == 0:
            raise Refused("the value is nought")
        if cells[0].value == 1:
            raise ZeroDivisionError("one is bad, too")
        if cells[0].value == 2:
            raise Unprintable
        double(cells)

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    model = load(engine, odd, batch_rows_max=1)
    with pytest.raises(InvalidInput, match=r"\Athe value is nought\Z"):
        model.run(payload(Cell(0)))
    with pytest.raises(Internal, match="ZeroDivisionError: one is bad, too"):
        run(model.infer(payload(Cell(1))))
    with pytest.raises(Internal, match="without a text"):
        model.run(payload(Cell(2)))
    cell = Cell(21)
    model.run(payload(cell))
    assert cell.answer == 42
    assert model.stats()["requests"]["error"] == 3


def test_limits_deadlines_and_cancelling_are_the_engines(engine) -> None:
    held = Held()
    model = load(engine, held, batch_rows_max=1, queue_rows_max=2)

    async def main() -> None:
        with pytest.raises(InvalidInput, match="at least 1 row"):
            await model.infer(payload(Cell(0), rows=0))
        with pytest.raises(InvalidInput, match="queue_rows_max"):
            await model.infer(payload(Cell(0), rows=3))
        first = asyncio.ensure_future(model.infer(payload(Cell(1))))
        await until(held.runs.is_set)
        late = payload(Cell(2), deadline_ns=time.monotonic_ns() + 5_000_000)
        with pytest.raises(DeadlineExceeded):
            await model.infer(late)
        dropped = asyncio.ensure_future(model.infer(payload(Cell(3))))
        await asyncio.sleep(0)  # it is submitted
        dropped.cancel()
        await asyncio.gather(dropped, return_exceptions=True)
        held.go.set()
        await first
        await until(lambda: over(model, "cancelled", "expired") == 2)

    run(main())
    assert [batch[0].value for batch in held.batches] == [1]


def test_a_full_queue_refuses(engine) -> None:
    held = Held()
    model = load(engine, held, batch_rows_max=1, queue_rows_max=1)

    async def main() -> None:
        tasks = [asyncio.ensure_future(model.infer(payload(Cell(1))))]
        await until(held.runs.is_set)
        tasks.append(asyncio.ensure_future(model.infer(payload(Cell(2)))))
        await until(lambda: model.stats()["queue_rows"] == 1)
        with pytest.raises(QueueFull, match="queue_rows_max"):
            await model.infer(payload(Cell(3)))
        held.go.set()
        await asyncio.gather(*tasks)

    run(main())


def test_close_finishes_what_is_queued_and_lets_go_of_the_callable(engine) -> None:
    held = Held()
    model = load(engine, held, batch_rows_max=1)
    cells = [Cell(n) for n in range(4)]
    gone = weakref.ref(held)
    with ThreadPoolExecutor(5) as pool:
        requests = [pool.submit(model.run, payload(cell)) for cell in cells]
        assert held.runs.wait(LIMIT_S)
        deadline = time.monotonic() + LIMIT_S
        while model.stats()["queue_rows"] < 3:
            assert time.monotonic() < deadline
        closing = pool.submit(model.close)
        held.go.set()
        closing.result(LIMIT_S)
        for request in requests:
            request.result(LIMIT_S)
    assert [cell.answer for cell in cells] == [0, 2, 4, 6]
    with pytest.raises(Unavailable):
        model.run(payload(Cell(1)))
    del held
    assert gone() is None


def test_an_engine_closes_with_a_batch_in_a_callable() -> None:
    engine = Engine(threads=1, queue_requests_max=16)
    held = Held()
    model = load(engine, held, batch_rows_max=1)
    cells = [Cell(1), Cell(2)]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(model.run, payload(cells[0]))
        assert held.runs.wait(LIMIT_S)
        second = pool.submit(model.run, payload(cells[1]))
        deadline = time.monotonic() + LIMIT_S
        while model.stats()["queue_rows"] < 1:
            assert time.monotonic() < deadline
        closing = pool.submit(engine.close)
        held.go.set()
        closing.result(LIMIT_S)
        first.result(LIMIT_S)
        # It may have been in time, or not; it does not hang.
        error = second.exception(LIMIT_S)
        assert error is None or isinstance(error, Unavailable)
    assert cells[0].answer == 2


def test_a_callable_may_not_wait_for_its_engine_but_drop_models(engine) -> None:
    other = [load(engine, double)]
    refused: list[str] = []

    def tries(cells: list[Cell]) -> None:
        try:
            other[0].run(payload(Cell(1)))
        except Internal as error:
            refused.append(str(error))
        other.clear()  # its finalizer unloads it, on another thread
        double(cells)

    model = load(engine, tries)
    model.run(payload(Cell(1)))
    assert len(refused) == 1
    deadline = time.monotonic() + LIMIT_S
    while engine.model_count > 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_forked_child_refuses_and_ends(engine) -> None:
    model = load(engine, double)
    child = os.fork()
    if child == 0:
        try:
            model.run(payload(Cell(1)))
        except Unavailable:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    cell = Cell(4)
    model.run(payload(cell))
    assert cell.answer == 8


EXIT = """
import asyncio, threading, time
from pelton.bridge import Engine, LoadOptions, NO_DEADLINE, Payload, shared_engine
runs = threading.Event()
def slow(cells):
    runs.set()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        sum(range(1000))
engine = {engine}
model = engine.load_callback(slow, LoadOptions(1, 1, 1, 0, 64))
async def leave():
    requests = [model.infer(Payload(None, 1, 2, NO_DEADLINE)) for _ in range(3)]
    tasks = [asyncio.ensure_future(request) for request in requests]
    await asyncio.sleep(0)  # each is submitted, and then left alone
    runs.wait()
asyncio.run(leave())
print("done")
"""


@pytest.mark.parametrize(
    "engine",
    ["shared_engine(threads=2, queue_requests_max=64)", "Engine(threads=2, queue_requests_max=64)"],
)
def test_a_process_ends_with_a_callable_under_way(engine: str) -> None:
    program = EXIT.format(engine=engine)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.stdout == "done\n"
    assert done.returncode == 0, done.stderr

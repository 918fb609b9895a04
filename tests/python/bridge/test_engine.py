from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pelton import bridge
from pelton.bridge import NO_DEADLINE, Engine, LoadOptions, Submission, open_plan
from pelton.bridge._status import error_of
from pelton.errors import (
    Cancelled,
    CorruptPlan,
    DeadlineExceeded,
    Error,
    Internal,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    QueueFull,
    Unavailable,
    UnsupportedPlan,
)
from python import toys

OPTIONS = {
    "threads": 2,
    "batch_rows_max": 64,
    "batch_tokens_max": 4096,
    "batch_wait_us_max": 0,
    "queue_rows_max": 4096,
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    return {"plus_one": toys.plus_one(folder), "slow": toys.slow(folder, 150)}


@pytest.fixture
def engine():
    engine = Engine(threads=2, queue_requests_max=256)
    yield engine
    engine.close()


def load(engine: Engine, path: Path, **changes):
    return engine.load(open_plan(path), LoadOptions(**{**OPTIONS, **changes}))


def request(rows: int = 1, *, width: int = toys.WIDTH, value: float = 1.0, **changes) -> Submission:
    facts = {
        "inputs": [np.full((rows, width), value, np.float32)],
        "outputs": [np.empty((rows, width), np.float32)],
        "rows": rows,
        "lengths": None,
        "priority": 2,
        "deadline_ns": NO_DEADLINE,
    }
    return Submission(**{**facts, **changes})


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def test_each_status_of_the_engine_has_its_error() -> None:
    leaves = {
        1: InvalidInput,
        2: ModelNotFound,
        3: QueueFull,
        4: DeadlineExceeded,
        5: Cancelled,
        6: Unavailable,
        7: CorruptPlan,
        8: UnsupportedPlan,
        9: OutOfMemory,
        10: Internal,
        99: Internal,
    }
    for code, leaf in leaves.items():
        error = error_of(code, "why")
        assert type(error) is leaf
        assert "why" in error.message


def test_the_hash_is_that_of_its_specification() -> None:
    assert bridge.xxh64(b"") == 0xEF46DB3751D8E999
    assert bridge.xxh64(b"abc") == 0x44BC2CF5AD770999
    assert bridge.xxh64(b"abc", 1) != bridge.xxh64(b"abc")


def test_features_and_variants_have_names() -> None:
    assert "avx2" in bridge.cpu_features()
    variants = bridge.kernel_variants()
    assert variants["f32_gemm"].startswith("f32_gemm__")


def test_a_plan_describes_itself(plans) -> None:
    plan = open_plan(plans["plus_one"])
    assert not plan.ragged
    assert [(t.name, t.dtype, t.shape) for t in plan.inputs] == [("x", "FP32", (-1, 4))]
    assert [(t.name, t.dtype, t.shape) for t in plan.outputs] == [("y", "FP32", (-1, 4))]
    assert plan.metadata["name"] == "plus_one"
    assert plan.file_bytes == plans["plus_one"].stat().st_size
    assert [instruction["op"] for instruction in plan.instructions()] == ["binary"]
    plan.verify_weights()
    with pytest.raises(ModelNotFound, match="no attachment"):
        plan.attachment("tokenizer.json")


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"none\.plan"):
        open_plan(tmp_path / "none.plan")


def test_a_truncated_plan_is_corrupt(plans, tmp_path: Path) -> None:
    path = tmp_path / "short.plan"
    path.write_bytes(plans["plus_one"].read_bytes()[:-100])
    with pytest.raises(CorruptPlan):
        open_plan(path)


def test_a_blocking_run_fills_the_outputs(engine, plans) -> None:
    submission = request(3, value=2.0)
    load(engine, plans["plus_one"]).run(submission)
    assert (submission.outputs[0] == 3.0).all()


def test_an_awaited_request_fills_the_outputs(engine, plans) -> None:
    model, submission = load(engine, plans["plus_one"]), request(3, value=2.0)
    run(model.infer(submission))
    assert (submission.outputs[0] == 3.0).all()


def test_read_only_and_unaligned_inputs_are_taken(engine, plans) -> None:
    body = b"\x01" + np.full((2, 4), 5.0, np.float32).tobytes()
    view = np.frombuffer(body, np.float32, offset=1).reshape(2, 4)
    assert not view.flags.aligned
    assert not view.flags.writeable
    submission = request(2, inputs=[view])
    load(engine, plans["plus_one"]).run(submission)
    assert (submission.outputs[0] == 6.0).all()


def test_an_array_that_does_not_fit_is_named(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    with pytest.raises(InvalidInput, match="'x': expected FP32"):
        model.run(request(1, inputs=[np.zeros((1, 4), np.float64)]))
    with pytest.raises(InvalidInput, match="'x': expected 32 bytes"):
        model.run(request(2, inputs=[np.zeros((1, 4), np.float32)]))


def test_threads_and_loops_share_one_engine(engine, plans) -> None:
    model = load(engine, plans["plus_one"])

    async def many(start: int) -> bool:
        submissions = [request(1 + n % 5, value=float(start + n)) for n in range(50)]
        await asyncio.gather(*(model.infer(submission) for submission in submissions))
        values = ((s.inputs[0] + 1 == s.outputs[0]).all() for s in submissions)
        return all(values)

    def blocking(start: int) -> bool:
        good = True
        for n in range(50):
            submission = request(1 + n % 5, value=float(start + n))
            model.run(submission)
            good &= bool((submission.outputs[0] == start + n + 1).all())
        return good

    with ThreadPoolExecutor(6) as pool:
        loops = [pool.submit(run, many(1000 * n)) for n in range(3)]
        threads = [pool.submit(blocking, 1000 * n) for n in range(3)]
        assert all(future.result(60) for future in [*loops, *threads])
    assert model.stats()["requests"]["ok"] == 300


def test_a_cancelled_task_cancels_its_request(engine, plans) -> None:
    # One row waits for a fuller batch, so it is queued for as long as the test likes.
    model = load(engine, plans["plus_one"], batch_wait_us_max=10_000_000)

    async def main() -> None:
        task = asyncio.ensure_future(model.infer(request()))
        await until(lambda: model.stats()["queue_rows"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: model.stats()["requests"]["cancelled"] == 1)

    run(main())


async def until(condition, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.001)


def test_what_a_cancelled_request_held_is_let_go(engine, plans) -> None:
    model = load(engine, plans["plus_one"], batch_wait_us_max=10_000_000)

    async def main() -> weakref.ref:
        submission = request()
        held = weakref.ref(submission.inputs[0])
        task = asyncio.ensure_future(model.infer(submission))
        await until(lambda: model.stats()["queue_rows"] == 1)
        task.cancel()
        del submission, task
        await until(lambda: gc.collect() >= 0 and held() is None)
        return held

    assert run(main())() is None


def test_a_queued_request_ends_at_its_deadline_not_at_the_next_batch(engine, plans) -> None:
    model = load(engine, plans["slow"], batch_rows_max=64)

    async def main() -> None:
        busy = [asyncio.ensure_future(model.infer(request(64, width=768))) for _ in range(4)]
        await until(lambda: model.stats()["queue_rows"] == 192)  # the first one runs
        late = request(1, width=768, priority=4, deadline_ns=time.monotonic_ns() + 5_000_000)
        with pytest.raises(DeadlineExceeded):
            await model.infer(late)
        assert not busy[-1].done(), "the queue was not as slow as this test needs it"
        await asyncio.gather(*busy)

    run(main())


def test_a_deadline_in_the_past_is_refused(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    with pytest.raises(DeadlineExceeded):
        model.run(request(deadline_ns=time.monotonic_ns() - 1))
    with pytest.raises(DeadlineExceeded):
        run(model.infer(request(deadline_ns=time.monotonic_ns() - 1)))


def test_a_full_queue_is_an_ordinary_error(engine, plans) -> None:
    model = load(engine, plans["plus_one"], queue_rows_max=8, batch_wait_us_max=10_000_000)

    async def main() -> list[object]:
        calls = [asyncio.ensure_future(model.infer(request())) for _ in range(12)]
        await until(lambda: sum(call.done() for call in calls) == 4)
        for call in calls:
            call.cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run(main())
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 4
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 8


def test_a_closed_model_refuses_and_closing_again_is_fine(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    assert engine.model_count == 1
    model.close()
    model.close()
    assert engine.model_count == 0
    with pytest.raises(Unavailable, match="closed"):
        model.run(request())
    with pytest.raises(Unavailable, match="closed"):
        run(model.infer(request()))


def test_a_dropped_model_is_unloaded(engine, plans) -> None:
    load(engine, plans["plus_one"])
    gc.collect()
    assert engine.model_count == 0


def test_closing_the_engine_ends_what_waits(engine, plans) -> None:
    model = load(engine, plans["plus_one"], batch_wait_us_max=10_000_000)

    async def main() -> object:
        task = asyncio.ensure_future(model.infer(request()))
        await until(lambda: model.stats()["queue_rows"] == 1)
        await asyncio.get_running_loop().run_in_executor(None, engine.close)
        return await asyncio.gather(task, return_exceptions=True)

    assert isinstance(run(main())[0], Error)
    with pytest.raises(Unavailable):
        model.run(request())
    model.close()


def test_loops_that_come_and_go_leave_no_descriptor_behind(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    run(model.infer(request()))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run(model.infer(request()))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_loop_closed_with_requests_in_flight_harms_nobody(engine, plans) -> None:
    model = load(engine, plans["slow"])

    async def leave() -> None:
        left = [asyncio.ensure_future(model.infer(request(8, width=768))) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in left)

    for _ in range(3):
        asyncio.run(leave())
    submission = request(1, width=768)
    run(model.infer(submission))
    assert (submission.outputs[0] == 1.0).all()


def test_the_interpreter_runs_on_while_a_call_blocks(engine, plans) -> None:
    model = load(engine, plans["slow"])
    submission = request(64, width=768)
    thread = threading.Thread(target=model.run, args=(submission,))
    thread.start()
    steps = 0
    while thread.is_alive():
        steps += 1
    thread.join()
    assert steps > 100
    assert (submission.outputs[0] == 1.0).all()


def test_stats_as_metrics_agree_with_the_counts(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    for rows in (1, 2, 3):
        model.run(request(rows))
    taken = model.snapshot()
    assert taken.batch_rows.observed == taken.execute.observed == model.stats()["batches"] == 3
    assert taken.batch_rows.total == 6
    assert taken.queue.observed == 3
    assert taken.queue_rows == 0
    assert taken.pool_bytes["arena"] > 0


SHARED = """
import sys
from pelton.bridge import LoadOptions, open_plan, shared_engine
first = shared_engine(threads=1, queue_requests_max=64)
assert shared_engine(threads=1, queue_requests_max=64) is first
more = shared_engine(threads=first.threads + 1, queue_requests_max=64)
assert more is not first and more.threads == first.threads + 1
options = dict(threads=1, batch_rows_max=8, batch_tokens_max=64, batch_wait_us_max=0)
model = more.load(open_plan(sys.argv[1]), LoadOptions(queue_rows_max=64, **options))
# With a model loaded the team stays as it is.
assert shared_engine(threads=more.threads + 1, queue_requests_max=64) is more
model.close()
more.close()
assert shared_engine(threads=1, queue_requests_max=64) is not more
print("done")
"""

FORK = """
import os, sys
import numpy as np
from pelton.errors import Unavailable
from pelton.model import load
from pelton.settings import Settings
settings = Settings(threads=2, cache_dir=".")
model = load(sys.argv[1], settings=settings)
x = {"x": np.ones((2, 4), np.float32)}
assert (model(x)["y"] == 2).all()
child = os.fork()
if child == 0:
    try:
        model(x)
    except Unavailable as error:
        refused = "parent process" in str(error)
    own = load(sys.argv[1], settings=settings)
    right = (own(x)["y"] == 2).all()
    model.close()
    del model
    own.close()
    sys.exit(0 if refused and right else 7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert (model(x)["y"] == 2).all()
print("done")
"""


@pytest.mark.parametrize("program", [SHARED, FORK], ids=["shared", "fork"])
def test_programs_of_their_own(program: str, plans, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, str(plans["plus_one"])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_stats_tell_batches_by_size_and_when_the_last_one_ran(engine, plans) -> None:
    model = load(engine, plans["plus_one"])
    before = model.stats()
    assert (before["batch_sizes"], before["last_execution_ns"]) == ([], 0)
    started = time.monotonic_ns()
    for rows in (3, 1, 3):
        model.run(request(rows))
    after = model.stats()
    assert [(rows, batches) for rows, batches, _ in after["batch_sizes"]] == [(1, 1), (3, 2)]
    executed_ns = sum(ns for _, _, ns in after["batch_sizes"])
    assert executed_ns == after["requests_execute_ns"] > 0
    assert executed_ns == pytest.approx(after["execute_seconds"]["total"] * 1e9)
    assert started < after["last_execution_ns"] <= time.monotonic_ns()

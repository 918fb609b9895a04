from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pelton.text import tokenize_in_worker, workers


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_texts_are_done_in_a_worker() -> None:
    async def main() -> int:
        return await tokenize_in_worker(threading.get_ident)

    assert run(main()) != threading.get_ident()


def test_many_at_once_each_get_their_own_answer() -> None:
    def work(number: int) -> int:
        if number % 10 == 3:
            raise ValueError(number)
        return number * 2

    async def main() -> list[object]:
        calls = (tokenize_in_worker(work, number) for number in range(500))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = run(main())
    for number, answer in enumerate(answers):
        if number % 10 == 3:
            assert isinstance(answer, ValueError)
            assert answer.args == (number,)
        else:
            assert answer == number * 2


def test_the_loop_goes_on_while_a_worker_works() -> None:
    release = threading.Event()

    async def main() -> bool:
        slow = asyncio.ensure_future(tokenize_in_worker(release.wait, 20))
        await asyncio.sleep(0)
        assert not slow.done()
        release.set()
        return await slow

    assert run(main())


def test_work_of_a_cancelled_caller_is_dropped_before_it_begins(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_worker_count", lambda: 1)
    release, ran = threading.Event(), []

    async def main() -> None:
        first = asyncio.ensure_future(tokenize_in_worker(release.wait, 20))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(tokenize_in_worker(ran.append, 2))
        third = asyncio.ensure_future(tokenize_in_worker(ran.append, 3))
        await asyncio.sleep(0)
        second.cancel()
        release.set()
        await asyncio.gather(first, third)

    run(main())
    assert ran == [3]


def test_a_loop_closed_meanwhile_does_no_harm() -> None:
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(20)
        done.set()

    async def main() -> None:
        task = asyncio.ensure_future(tokenize_in_worker(work))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 20)
        task.cancel()

    asyncio.run(main())
    release.set()
    assert done.wait(20)
    # The worker is free again for the next loop.
    assert run(_double(21)) == 42


async def _double(number: int) -> int:
    return await tokenize_in_worker(lambda: number * 2)


def test_loops_of_several_threads_work_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: run(_double(n)), range(20))) == [n * 2 for n in range(20)]


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_workers_are_busy_than_the_caller_allows(threads: int, monkeypatch) -> None:
    monkeypatch.setattr(workers, "_worker_count", lambda: 4)
    release, lock, busy, most = threading.Event(), threading.Lock(), 0, 0

    def work() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if most == threads:
                release.set()  # as many as may be are here; the others come later
        release.wait(20)
        with lock:
            busy -= 1

    async def main() -> None:
        for _ in range(20):  # one after the other is handed over, and then many together
            calls = (tokenize_in_worker(work, threads=threads) for _ in range(10))
            await asyncio.gather(*calls)

    run(main())
    assert most == threads


def test_waiting_jobs_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_WAITING_MAX", 3)
    monkeypatch.setattr(workers, "_worker_count", lambda: 1)
    release = threading.Event()

    async def main() -> list[object]:
        calls = [tokenize_in_worker(release.wait, 20) for _ in range(8)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        started = time.monotonic()
        while sum(task.done() for task in tasks) < 4:
            assert time.monotonic() - started < 20
            await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(main())
    refused = [answer for answer in answers if isinstance(answer, workers.QueueFull)]
    assert len(refused) == 4
    assert answers.count(True) == 4

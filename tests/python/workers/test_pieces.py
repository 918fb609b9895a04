"""The parts of a server of several processes, each by itself."""

from __future__ import annotations

import asyncio
import pickle
import socket

import pytest

from pelton.errors import Internal, InvalidInput, InvalidSettings, Unavailable
from pelton.settings import Settings
from pelton.workers import worker_settings
from pelton.workers._channel import Channel
from pelton.workers._messages import Answer, Ask, Decoder, Do, encode
from pelton.workers._restarts import START_FAILURES_MAX, Restarts


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (7, 3), (8, 4), (5, 4)])
def test_totals_are_divided_and_nothing_is_lost(threads: int, workers: int) -> None:
    settings = Settings(threads=threads, workers=workers)
    shares = worker_settings(settings)
    assert len(shares) == workers
    for name in ("threads", "queue_requests_max", "connections_max", "bodies_bytes_max"):
        amounts = [getattr(share, name) for share in shares]
        assert sum(amounts) == getattr(settings, name)
        assert max(amounts) - min(amounts) <= 1
        assert min(amounts) >= 1
    assert {share.port for share in shares} == {settings.port}


def test_every_worker_has_room_for_the_largest_body() -> None:
    settings = Settings(threads=4, workers=4, body_bytes_max=100, bodies_bytes_max=200)
    assert [share.bodies_bytes_max for share in worker_settings(settings)] == [100] * 4


def test_small_totals_leave_one_for_each() -> None:
    shares = worker_settings(Settings(threads=3, workers=3, connections_max=1))
    assert [share.connections_max for share in shares] == [1, 1, 1]


def test_more_workers_than_threads_are_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"number of threads \(2\), not 3") as caught:
        worker_settings(Settings(threads=2, workers=3))
    assert caught.value.field == "workers"


@pytest.mark.parametrize("count", [0, -1, 257])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(InvalidSettings, match="workers must be an integer from 1 to 256"):
        Settings(workers=count)


def test_the_first_replacement_comes_at_once_and_the_next_ones_later() -> None:
    restarts = Restarts()
    delays = [restarts.ended(served_s=1.0) for _ in range(10)]
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_worker_that_served_long_is_replaced_at_once() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.ended(served_s=1.0)
    assert restarts.ended(served_s=60.0) == 0.0
    assert restarts.ended(served_s=1.0) == 0.5


def test_workers_that_end_while_they_start_are_given_up() -> None:
    restarts = Restarts()
    assert [restarts.ended(None) for _ in range(START_FAILURES_MAX)][-1] is None
    again = Restarts()
    for _ in range(START_FAILURES_MAX - 1):
        assert again.ended(None) is not None
    assert again.ended(served_s=0.1) is not None
    assert again.ended(None) is not None, "it served in between"


def test_frames_come_apart_at_any_byte() -> None:
    messages = [Ask(1, "ready"), Do(2, "c", ("x", 1)), Answer(3, value={"a": b"\0" * 1000})]
    stream = b"".join(map(encode, messages))
    for step in (1, 3, 7, len(stream)):
        decoder = Decoder()
        found = []
        for at in range(0, len(stream), step):
            found += list(decoder.feed(stream[at : at + step]))
        assert found == messages


def test_a_frame_over_the_limit_is_refused() -> None:
    with pytest.raises(Internal, match="4294967295 bytes"):
        list(Decoder().feed(b"\xff\xff\xff\xff"))


def test_errors_arrive_as_they_were() -> None:
    error = InvalidInput("no", tensor="x", expected="a", got="b", offset=3)
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), found.message, found.details) == (InvalidInput, "no", error.details)


def run_pair(work) -> None:
    """`work(near, far)` with both ends of a channel, each being read by `far`'s handler."""

    async def main() -> None:
        a, b = socket.socketpair()
        near, far = Channel(a), Channel(b)
        await near.open()
        await far.open()
        await asyncio.wait_for(work(near, far), 30)
        near.close()
        far.close()

    asyncio.run(main())


def test_requests_get_their_own_answers() -> None:
    async def work(near: Channel, far: Channel) -> None:
        asked: list[Ask] = []

        def on_message(message) -> None:
            asked.append(message)
            if len(asked) == 3:
                far.send(Answer(asked[2].id, 2))
                far.send(Answer(asked[0].id, 0))
                far.send(Answer(asked[1].id, error=InvalidInput("not this")))

        reading = [
            asyncio.create_task(far.run(on_message)),
            asyncio.create_task(near.run(lambda _: None)),
        ]
        wanted = [near.request(lambda n: Ask(n, "q"), 30) for _ in range(3)]
        found = await asyncio.gather(*wanted, return_exceptions=True)
        assert (found[0], found[2]) == (0, 2)
        assert isinstance(found[1], InvalidInput)
        for task in reading:
            task.cancel()

    run_pair(work)


def test_a_side_that_does_not_answer_costs_a_bounded_wait_and_bounded_memory() -> None:
    async def work(near: Channel, far: Channel) -> None:
        for _ in range(64):
            with pytest.raises(TimeoutError):
                await near.request(lambda n: Ask(n, "q"), 0)
        sent: list[int] = []
        with pytest.raises(TimeoutError):
            await near.request(lambda n: sent.append(n) or Ask(n, "q"), 30)
        assert sent == []

    run_pair(work)


def test_a_side_that_ends_fails_its_requests() -> None:
    async def work(near: Channel, far: Channel) -> None:
        reading = asyncio.create_task(near.run(lambda _: None))
        request = asyncio.create_task(near.request(lambda n: Ask(n, "q"), 30))
        await asyncio.sleep(0)
        far.close()
        with pytest.raises(Unavailable):
            await request
        await reading
        with pytest.raises(Unavailable):
            await near.request(lambda n: Ask(n, "q"), 30)

    run_pair(work)

"""The parent over workers that do as the test says: rounds of questions, commands, and what remains
of workers that ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pelton.app import bind
from pelton.errors import AlreadyExists, Unavailable
from pelton.metrics import ModelSnapshot, ProcessSnapshot, RequestMetrics
from pelton.settings import Settings
from pelton.workers import worker_settings
from pelton.workers._fleet import Fleet
from pelton.workers._messages import Do, Keep, Question, Undo


class ToldChannel:
    """Answers with what `answer` returns or raises."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.requests: list[Any] = []
        self.answer: Any = None

    async def request(self, make: Any, seconds_max: float) -> Any:
        message = make(len(self.requests) + 1)
        self.requests.append(message)
        await asyncio.sleep(0)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def send(self, message: Any) -> None:
        self.sent.append(message)


class ToldWorker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.channel = ToldChannel()
        self.is_serving = True
        self.has_job = True
        self.last_answers: dict[str, Any] = {}
        self.stopped = None
        self.connection_count = 0

    def fileno(self) -> int:
        return -1

    def take_back(self) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class ToldFleet(Fleet):
    def __init__(self, count: int, listener: Any) -> None:
        settings = Settings(threads=count, workers=count)
        super().__init__(settings, worker_settings(settings), [], listener)
        self.told = [ToldWorker(number) for number in range(1, count + 1)]
        self._workers.update({w.number: w for w in self.told})  # type: ignore[misc]


@pytest.fixture
def fleet() -> Iterator[ToldFleet]:
    with bind("127.0.0.1", 0) as listener:
        yield ToldFleet(3, listener)


def snapshot(ok: int, connections: int = 1) -> ProcessSnapshot:
    requests = RequestMetrics()
    for _ in range(ok):
        requests.count("ok")
        requests.decode.observe(0.001)
    found = requests.snapshot()
    model = ModelSnapshot("m", "1", found.outcomes, found.decode, found.encode, 0.1, None)
    return ProcessSnapshot(models=[model], connections=connections, requests_in_flight=0)


def ask(fleet: Fleet, name: str) -> Any:
    return asyncio.run(asyncio.wait_for(fleet._collect(name), 30))


def test_ready_when_all_are(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = True
    assert ask(fleet, "ready") is True
    fleet.told[1].channel.answer = False
    assert ask(fleet, "ready") is False
    fleet.told[1].channel.answer = TimeoutError()
    assert ask(fleet, "ready") is False
    fleet.told[1].channel.answer = True
    fleet.told[1].is_serving = False
    assert ask(fleet, "ready") is False


def test_a_late_worker_counts_with_its_last_answer_and_is_named(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = snapshot(worker.number)
    assert ask(fleet, "snapshot").models[0].outcomes == {"ok": 6}
    fleet.told[2].channel.answer = TimeoutError()
    fleet.told[0].channel.answer = snapshot(11)
    found = ask(fleet, "snapshot")
    assert found.models[0].outcomes == {"ok": 11 + 2 + 3}
    assert found.workers.late == {"3": 1}
    assert found.connections == 3


def test_counts_of_a_worker_that_ended_are_kept_and_its_gauges_are_not(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = snapshot(10)
    assert ask(fleet, "snapshot").connections == 3

    async def end(number: int) -> None:
        fleet._forget(fleet.told[number - 1])  # type: ignore[arg-type]

    asyncio.run(end(3))
    found = ask(fleet, "snapshot")
    assert found.models[0].outcomes == {"ok": 30}
    assert found.models[0].decode.observed == 30
    assert (found.connections, found.workers.running) == (2, 2)
    asyncio.run(end(2))
    assert ask(fleet, "snapshot").models[0].outcomes == {"ok": 30}


def test_those_who_ask_during_a_round_share_the_next_one(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = True

    async def main() -> None:
        first = asyncio.create_task(fleet._collect("ready"))
        for _ in range(10):  # turns of the loop, until the first round has asked
            await asyncio.sleep(0)
            if fleet.told[0].channel.requests:
                break
        assert fleet.told[0].channel.requests == [Question(1, "ready")]
        later = [asyncio.create_task(fleet._collect("ready")) for _ in range(50)]
        assert await asyncio.gather(first, *later) == [True] * 51
        # A later one, because the first may have been answered before they asked.
        assert len(fleet.told[0].channel.requests) == 2

    asyncio.run(main())


def apply(fleet: Fleet) -> None:
    asyncio.run(asyncio.wait_for(fleet.apply("unregister_region", 7), 30))


def test_a_command_is_kept_when_all_have_it(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = [("unregister_region", 7)]
    fleet.told[2].is_serving = False  # it starts, and gets it behind its job
    apply(fleet)
    for worker in fleet.told[:2]:
        assert worker.channel.requests == [Do(1, "unregister_region", 7)]
        assert worker.channel.sent == [Keep(1)]
    assert fleet.told[2].channel.sent == [Do(0, "unregister_region", 7), Keep(0)]
    assert fleet._commands == [("unregister_region", 7)]


@pytest.mark.parametrize("error", [AlreadyExists("no"), TimeoutError()])
def test_a_command_that_fails_in_one_is_undone_in_all(fleet: ToldFleet, error: Exception) -> None:
    for worker in fleet.told:
        worker.channel.answer = [("unregister_region", 7)]
    fleet.told[1].channel.answer = error
    wanted = Unavailable if isinstance(error, TimeoutError) else AlreadyExists
    with pytest.raises(wanted):
        apply(fleet)
    assert [worker.channel.sent for worker in fleet.told] == [[Undo(1)]] * 3
    assert fleet._commands == []


def test_a_worker_that_ends_during_a_command_does_not_fail_it(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.channel.answer = [("unregister_region", 7)]
    gone = fleet.told[1]
    gone.channel.answer = Unavailable("the other process has ended")

    async def main() -> None:
        applying = asyncio.create_task(fleet.apply("unregister_region", 7))
        await asyncio.sleep(0)
        fleet._forget(gone)  # type: ignore[arg-type]
        await asyncio.wait_for(applying, 30)

    asyncio.run(main())
    assert fleet._commands == [("unregister_region", 7)]


def test_a_command_without_workers_is_unavailable(fleet: ToldFleet) -> None:
    for worker in fleet.told:
        worker.is_serving = False
    with pytest.raises(Unavailable, match="no worker serves"):
        apply(fleet)


def test_connections_go_to_the_worker_with_the_fewest(fleet: ToldFleet, monkeypatch) -> None:
    given: list[int] = []

    def give(worker: ToldWorker, sock: object) -> bool:
        if worker.number == 2:
            return False
        given.append(worker.number)
        worker.connection_count += 1
        return True

    monkeypatch.setattr(ToldWorker, "give", give, raising=False)
    fleet.told[0].connection_count = 2
    assert all(fleet._give(object()) for _ in range(4))  # type: ignore[arg-type]
    assert given[:2] == [3, 3]
    assert sorted(given[2:]) == [1, 3]

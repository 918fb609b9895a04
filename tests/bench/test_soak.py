"""A soak sees a leak through noise, and an answer that is missing, wrong or one too many."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from bench.server.bad_requests import BadRequest, bad_requests, send_bad
from bench.server.soak import SoakOptions, main, run_soak, slope
from bench.server.stage import ServerOptions

from bench_support.toy_server import ToyServer, answer, post


def memory(seed: int, bytes_per_hour: float) -> tuple[list[float], list[float]]:
    """Half an hour of samples of 100 MB that wander slowly up and down by some 100 KB."""
    generator = random.Random(seed)
    seconds, sizes, wander = [], [], 0.0
    for index in range(600):
        wander = 0.9 * wander + generator.gauss(0, 40_000)
        seconds.append(3.0 * index)
        sizes.append(100e6 + wander + bytes_per_hour * 3.0 * index / 3600)
    return seconds, sizes


def test_noise_is_no_slope_and_a_leak_is_one(seed: int) -> None:
    assert slope(*memory(seed, 0.0)).is_none
    leak = slope(*memory(seed, 10e6))
    assert not leak.is_none
    assert leak.value == pytest.approx(10e6, abs=4 * leak.error)
    assert slope(*memory(seed, -10e6)).is_none


def test_the_slope_of_a_line_is_exact() -> None:
    found = slope([0.0, 1.0, 2.0, 3.0], [5.0, 7.0, 9.0, 11.0])
    assert found.value == pytest.approx(7200.0)
    assert found.error == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(slope([1.0], [5.0]).value)


def bad(answers: int | None = 1, **options: bool) -> BadRequest:
    return BadRequest(name="toy", data=post(), answers=answers, **options)


@pytest.mark.parametrize(
    ("request_", "reply", "problem"),
    [
        (bad(), [answer(status=400)], ""),
        (bad(), [answer(status=200)], "status 200, expected a status of 400"),
        (bad(), [answer(status=500)], "status 500"),
        (bad(), [answer(status=400), answer(status=400)], "2 answers, expected 1"),
        (bad(), [], "0 answers, expected 1"),
        (bad(None), [], ""),
        (bad(), [b"garbage\r\n\r\n"], "status -1"),
        (bad(good=True), [answer()], ""),
        (bad(good=True, drips=True), [answer()], ""),
        (bad(good=True), [answer(status=400)], "status 400, expected 200"),
    ],
)
def test_outcomes_are_judged(request_: BadRequest, reply: list[bytes], problem: str) -> None:
    closing = b"".join(reply)

    def once(number: int, body: bytes) -> bytes | None:
        return closing or None

    with ToyServer(once, close_after_answer=True) as server:
        outcome = send_bad(server.port, request_)
    assert problem in outcome.problem
    assert bool(outcome.problem) == bool(problem)


def test_a_server_that_is_gone_is_a_problem() -> None:
    assert "toy" in send_bad(1, bad()).problem


def test_kinds_have_names_of_their_own() -> None:
    kinds = bad_requests(post())
    assert len({kind.name for kind in kinds}) == len(kinds) > 30


@pytest.mark.e2e
def test_a_short_soak_counts_every_request(loadgen: Path) -> None:
    server = ServerOptions(program=loadgen, isa="generic", threads=1, tiny=True)
    options = SoakOptions(server=server, seconds=2.0, share=0.3)
    failures, shown = run_soak(options)
    # Two seconds say nothing of memory.
    assert [text for text in failures if not text.startswith("memory")] == []
    assert "| lost, unanswered, unsolicited | 0, 0, 0 |" in shown


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--share", "2"], ["--threads", "x"]])
def test_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2

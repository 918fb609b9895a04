"""The gates through the binding: every request that passed is told of exactly once, and what is
counted is what happened."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton.bridge.control import GateRequest, ModelGates, RequestEnd
from pelton.errors import DeadlineExceeded, PayloadTooLarge, QueueFull
from pelton.metrics import SECONDS_BOUNDS

LIMITS = {
    "body_bytes_max": 1000,
    "rows_max": 50,
    "concurrency_max": 8,
    "queue_rows_max": 100,
    "request_rows_max": 40,
    "batch_rows_max": 16,
    "batch_tokens_max": 64,
}

ARRIVAL = st.fixed_dictionaries(
    {
        "rows": st.integers(0, 60),
        "tokens": st.integers(0, 300),
        "body_bytes": st.integers(0, 1100),
        "wait": st.none() | st.integers(-5, 10**8),
        "priority": st.integers(-1, 6),
    }
)
#: How one of those in flight ends: which, after which batches, how.
ENDING = st.tuples(
    st.integers(0, 100), st.lists(st.integers(1, 10**8), max_size=3), st.sampled_from(RequestEnd)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**7), ARRIVAL | ENDING), max_size=120))
def test_in_flight_is_what_passed_and_is_not_over(history: list[tuple[int, Any]]) -> None:
    gates = ModelGates(**LIMITS)
    in_flight: list[tuple[GateRequest, int]] = []
    now, refused = 10**9, 0
    for step, event in history:
        now += step
        if isinstance(event, dict):
            wait = event["wait"]
            request = GateRequest(
                rows=event["rows"],
                tokens=event["tokens"],
                body_bytes=event["body_bytes"],
                arrival=now,
                deadline_ns=2**63 - 1 if wait is None else now + wait,
                priority=event["priority"],
            )
            try:
                gates.before(request, now)
                in_flight.append((request, min(event["rows"], LIMITS["request_rows_max"])))
            except (PayloadTooLarge, QueueFull, DeadlineExceeded):
                refused += 1
                assert request.passed == 0
        elif in_flight:
            which, batches, end = event
            request, _ = in_flight.pop(which % len(in_flight))
            for run_ns in batches:
                started = now - run_ns
                gates.ran(request, queued=started - 5, started=started, ended=now, rows=4, tokens=9)
            assert request.run_ns == sum(batches)
            gates.after(request, end, now)
            assert request.passed == 0
        snapshot = gates.snapshot()
        assert snapshot.in_flight == len(in_flight) <= LIMITS["concurrency_max"]
        assert snapshot.queue_rows == sum(rows for _, rows in in_flight) <= 100
        assert sum(snapshot.refused.values()) == refused
    for request, _ in in_flight:
        gates.after(request, RequestEnd.CANCELLED, now)
    assert (gates.snapshot().in_flight, gates.snapshot().queue_rows) == (0, 0)


def test_a_request_that_is_over_is_not_told_again() -> None:
    gates = ModelGates()
    request = GateRequest(rows=1, tokens=1)
    gates.before(request, 1)
    gates.after(request, RequestEnd.EXPIRED, 2)
    gates.after(request, RequestEnd.OK, 3)
    assert gates.snapshot().in_flight == 0


@pytest.mark.parametrize(
    ("request_", "error", "gate"),
    [
        ({"body_bytes": 1001}, PayloadTooLarge, "limits"),
        ({"rows": 51}, PayloadTooLarge, "limits"),
        ({"deadline_ns": 5}, DeadlineExceeded, "deadline"),
    ],
)
def test_refusals_name_what_was_expected(
    request_: dict[str, int], error: type[Exception], gate: str
) -> None:
    gates = ModelGates(**LIMITS)
    with pytest.raises(error):
        gates.before(GateRequest(**{"rows": 1, "tokens": 1, **request_}), 5)
    assert gates.snapshot().refused[gate] == 1
    assert gates.snapshot().in_flight == 0


def test_counters_are_the_statistics_of_the_protocol() -> None:
    gates = ModelGates()
    request = GateRequest(rows=3, tokens=30)
    gates.decoded(2_000_000, 64)
    gates.before(request, 10)
    gates.ran(request, queued=10, started=30, ended=90, rows=8, tokens=80)
    gates.after(request, RequestEnd.OK, 95)
    gates.count_ok(request, decode_ns=7, encode_ns=9, total_ns=120, body_bytes=256)
    gates.count_problem("queue_full", 4)
    counters = gates.counters()
    assert counters.outcomes == {"ok": 1, "queue_full": 1}
    assert counters.times == {
        "success": (1, 120),
        "fail": (1, 4),
        "queue": (1, 20),
        "compute_input": (1, 7),
        "compute_infer": (1, 60),
        "compute_output": (1, 9),
        "cache_hit": (0, 0),
        "cache_miss": (0, 0),
    }
    assert (counters.inference_count, counters.execution_count) == (3, 1)
    assert counters.last_inference_ns == 90
    assert (counters.bytes_in, counters.bytes_out) == (64, 256)
    assert tuple(counters.decode.bounds) == pytest.approx(SECONDS_BOUNDS)
    assert counters.decode.observed == 1
    assert counters.decode.total == pytest.approx(0.002)


def test_unknown_limits_and_codes_are_errors() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        ModelGates(nonsense=1)
    with pytest.raises(ValueError, match="queue_rows_max"):
        ModelGates(queue_rows_max=0)
    with pytest.raises(ValueError, match="nonsense"):
        ModelGates().count_problem("nonsense", 1)

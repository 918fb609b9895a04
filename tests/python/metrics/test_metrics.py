from __future__ import annotations

import threading

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pelton.metrics import (
    COUNT_BOUNDS,
    EngineSnapshot,
    Histogram,
    HistogramSnapshot,
    ModelSnapshot,
    ProcessSnapshot,
    RequestMetrics,
    WorkersSnapshot,
    merge_snapshots,
    render,
    snapshot_remains,
)


def snapshot() -> ProcessSnapshot:
    requests = RequestMetrics()
    requests.count("ok")
    requests.count("ok")
    requests.count("invalid_input")
    requests.decode.observe(0.003)
    rows = Histogram(COUNT_BOUNDS)
    rows.observe(3)
    engine = EngineSnapshot(
        queue=requests.encode.snapshot(),
        execute=requests.decode.snapshot(),
        batch_rows=rows.snapshot(),
        batch_tokens=rows.snapshot(),
        queue_rows=5,
        pool_bytes={"used": 10, "free": 2},
    )
    models = [
        ModelSnapshot(
            model=name,
            version="1",
            outcomes=requests.outcomes,
            decode=requests.decode.snapshot(),
            encode=requests.encode.snapshot(),
            load_seconds=0.25,
            engine=engine,
        )
        for name in ("a", "b")
    ]
    return ProcessSnapshot(
        models=models,
        loop_lag=Histogram().snapshot(),
        connections=7,
        requests_in_flight=1,
    )


def samples(text: str, parse) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_scrape_parses_and_has_the_names_of_the_interface(openmetrics: bool) -> None:
    text = render(snapshot(), openmetrics=openmetrics).decode()
    assert text.endswith("# EOF\n") == openmetrics
    found = samples(text, parse_openmetrics if openmetrics else parse_text)
    model = {("model", "a"), ("version", "1")}
    assert found["pelton_requests_total", frozenset({*model, ("outcome", "ok")})] == 2
    assert found["pelton_requests_total", frozenset({*model, ("outcome", "invalid_input")})] == 1
    for phase in ("decode", "queue", "execute", "encode"):
        key = frozenset({*model, ("phase", phase), ("le", "+Inf")})
        assert ("pelton_request_seconds_bucket", key) in found
    assert found["pelton_batch_rows_bucket", frozenset({*model, ("le", "2.0")})] == 0
    assert found["pelton_batch_rows_bucket", frozenset({*model, ("le", "4.0")})] == 1
    assert found["pelton_batch_tokens_sum", frozenset(model)] == 3
    assert found["pelton_queue_rows", frozenset(model)] == 5
    assert found["pelton_model_load_seconds", frozenset(model)] == 0.25
    assert found["pelton_connections", frozenset()] == 7
    # The bytes of all models on one device.
    used = frozenset({("device", "cpu"), ("state", "used")})
    assert found["pelton_pool_bytes", used] == 20


def test_values_on_a_bound_are_in_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    taken = histogram.snapshot()
    assert taken.counts == (2, 2, 1)
    assert taken.observed == 5
    assert taken.total == 14.0
    assert list(taken.cumulative()) == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]


def test_a_snapshot_needs_one_count_more_than_bounds() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        list(HistogramSnapshot((1.0, 2.0), (1, 1), 0.0).cumulative())


def test_counting_from_many_threads_loses_nothing() -> None:
    requests, histogram = RequestMetrics(), Histogram()

    def work() -> None:
        for _ in range(2000):
            requests.count("ok")
            histogram.observe(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert requests.outcomes["ok"] == 8000
    assert histogram.snapshot().observed == 8000


def test_merged_snapshots_are_sums() -> None:
    """Every field is looked at: one that is added must say how it merges."""
    one, two = snapshot(), snapshot()
    workers = WorkersSnapshot(running=2, starts={"1": 1, "2": 3}, late={"2": 1})
    merged = merge_snapshots([one, two, ProcessSnapshot(models=(), workers=workers)])
    assert ProcessSnapshot._fields == (
        *("models", "loop_lag", "connections", "requests_in_flight", "workers"),
    )
    assert (merged.connections, merged.requests_in_flight, merged.workers) == (14, 2, workers)
    assert [model.model for model in merged.models] == ["a", "b"]
    model, single = merged.models[0], one.models[0]
    assert ModelSnapshot._fields == (
        *("model", "version", "outcomes", "decode", "encode", "load_seconds", "engine"),
    )
    assert model.outcomes == {"ok": 4, "invalid_input": 2}
    assert model.decode.counts == tuple(2 * count for count in single.decode.counts)
    assert model.decode.total == 2 * single.decode.total
    assert model.load_seconds == single.load_seconds
    assert EngineSnapshot._fields == (
        *("queue", "execute", "batch_rows", "batch_tokens", "queue_rows", "pool_bytes"),
    )
    assert model.engine.queue_rows == 10
    assert model.engine.pool_bytes == {"used": 20, "free": 4}
    assert model.engine.batch_rows.observed == 2
    text = render(merged).decode()
    assert "pelton_workers 2.0\n" in text
    assert 'pelton_worker_starts_total{worker="2"} 3.0\n' in text
    assert 'pelton_worker_late_answers_total{worker="2"} 1.0\n' in text


def test_of_a_process_that_ended_its_counters_remain() -> None:
    before = snapshot()
    merged = merge_snapshots([before, snapshot_remains(before)])
    assert merged.models[0].outcomes == {"ok": 4, "invalid_input": 2}
    assert merged.models[0].engine.batch_rows.observed == 2
    assert merged.models[0].engine.queue_rows == before.models[0].engine.queue_rows
    assert merged.models[0].engine.pool_bytes == before.models[0].engine.pool_bytes
    assert (merged.connections, merged.requests_in_flight) == (7, 1)
    assert merged.models[0].load_seconds == 0.25


def test_a_model_that_one_process_has_unloaded_still_merges() -> None:
    one = snapshot()
    two = one._replace(models=[one.models[0]._replace(engine=None)])
    merged = merge_snapshots([one, two])
    assert merged.models[0].engine == one.models[0].engine
    assert len(merged.models) == 2


def test_histograms_of_different_bounds_have_no_sum() -> None:
    one = snapshot()
    lag = Histogram((1.0,)).snapshot()
    with pytest.raises(ValueError, match="different bounds"):
        merge_snapshots([one, one._replace(loop_lag=lag)])

"""Requests that compute: an MLP, and MiniLM from text to embedding."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from bench.engine.workload import batches_of, sentence_texts
from bench.report import Figure, Section, table
from bench.server.contest import Contestant, Spread, contest, in_turns, ratio
from bench.server.cost import sample_rows, sample_table
from bench.server.load import LoadPlan, run_load
from bench.server.requests import embeddings_request, oip_request
from bench.server.stage import Stage, embedding, last_floats, load_peer
from pelton.backends import InputValue
from pelton.model import Model, load
from pelton.settings import load_settings

__all__ = ["run_embed", "run_mlp"]

_CONNECTIONS: Final = 64
_TEXTS: Final = 256
_MLP_ERROR_MAX: Final = 1e-4
_COSINE_MIN: Final = 0.9999


def run_mlp(stage: Stage) -> Section:
    """The MLP in fp32, 64 connections."""
    options = stage.options
    section = Section(f"Server: MLP 512-1024-512-256-1 fp32, {options.isa}")
    request = oip_request("mlp", "x", stage.mlp_row[None], "binary")
    server = stage.pelton({"mlp": stage.mlp_plan}, request)
    peer = load_peer("mosec")
    assert peer.tensor_request is not None
    mosec = stage.peer(peer, "mlp")
    ours, theirs = (
        float(last_floats(of, asked, 1)[0])
        for of, asked in (
            (server, request),
            (mosec.server, peer.tensor_request(stage.mlp_row)),
        )
    )
    if not abs(ours - theirs) <= _MLP_ERROR_MAX * max(1.0, abs(theirs)):
        raise SystemExit(f"bench: the MLP gives {ours} here and {theirs} in ONNX Runtime")
    found = contest(
        options.program,
        {"pelton": Contestant(server, stage.requests("mlp", request)), "mosec": mosec},
        connections=_CONNECTIONS,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    rates = {name: [sample.rate for sample in samples] for name, samples in found.items()}
    spread = ratio(rates["pelton"], rates["mosec"])
    section.figures.append(
        Figure(
            what="MLP 512-1024-512-256-1 fp32: requests/s, 64 connections",
            against="mosec with ONNX Runtime",
            value=spread.median,
            shown=f"{spread} ({Spread.of(rates['pelton']).median:,.0f}/s)",
            reach=2.5,
            reach_shown="≥ 2.5x",
        )
    )
    section.add(sample_table(sample_rows(found, _CONNECTIONS)))
    return section


class _Texts:
    """Sentences, and how many tokens the first n of them have, over and over."""

    def __init__(self, pairs: Sequence[tuple[str, list[int]]]) -> None:
        self.texts = [text for text, _ in pairs]
        self.rows = [ids for _, ids in pairs]

    def tokens(self, count: int) -> int:
        lengths = [len(row) for row in self.rows]
        whole, rest = divmod(count, len(lengths))
        return whole * sum(lengths) + sum(lengths[:rest])


def run_embed(stage: Stage) -> Section:
    """Tokens per second of `/v1/embeddings` against the engine alone and other servers."""
    options = stage.options
    assert options.encoder is not None
    count = 16 if options.tiny else _TEXTS
    texts = _Texts(sentence_texts(options.encoder, count, options.seed))
    requests = [embeddings_request("minilm", [text]) for text in texts.texts]
    server = stage.pelton({"minilm": options.encoder}, requests[0])
    calls: dict[str, Callable[[], float]] = {
        "pelton": _served(stage, Contestant(server, stage.requests("embed", *requests)), texts)
    }
    expected = embedding(server, requests[0])
    for name in ("litserve", "bentoml") if not options.tiny else ():
        peer = load_peer(name)
        assert peer.text_request is not None
        contestant = stage.peer(peer, "embed", texts=texts.texts)
        found = embedding(contestant.server, peer.text_request(texts.texts[0]))
        cosine = float(found @ expected / np.linalg.norm(found) / np.linalg.norm(expected))
        if cosine < _COSINE_MIN:
            raise SystemExit(f"bench: {name} gives another embedding: cosine {cosine}")
        calls[name] = _served(stage, contestant, texts)
    settings = load_settings(flags={"threads": options.threads})
    with load(options.encoder, settings=settings) as model:
        calls["engine alone, texts"] = _alone(model, texts, options.seconds, tokenized=False)
        calls["engine alone, token ids"] = _alone(model, texts, options.seconds, tokenized=True)
        for call in calls.values():
            call()
        rates = in_turns(calls, options.rounds)
    section = Section(f"Server: MiniLM, text to base64 embeddings, {options.isa}")
    _embed_figures(section, rates)
    rows = [
        (name, f"{Spread.of(found).median:,.0f}", str(ratio(rates["pelton"], found)))
        for name, found in rates.items()
    ]
    section.add(table(("", "tokens/s", "pelton's server to it"), rows))
    return section


def _embed_figures(section: Section, rates: dict[str, list[float]]) -> None:
    what = "MiniLM, `/v1/embeddings` base64, 64 connections, mixed lengths: tokens/s"
    ours = rates["pelton"]
    for name, found in rates.items():
        if name == "pelton":
            continue
        spread = ratio(ours, found)
        alone = name.startswith("engine")
        reach = {"engine alone, texts": 0.9, "engine alone, token ids": None}.get(name, 3.0)
        section.figures.append(
            Figure(
                what=what,
                against=f"{name}, batches of 64" if alone else f"{name} with ONNX Runtime",
                value=spread.median,
                shown=f"{spread} ({Spread.of(ours).median:,.0f} tokens/s)",
                reach=reach,
                reach_shown="–" if reach is None else f"≥ {reach}x",
            )
        )


def _served(stage: Stage, contestant: Contestant, texts: _Texts) -> Callable[[], float]:
    options = stage.options
    plan = LoadPlan(
        port=contestant.server.port,
        requests=contestant.requests,
        connections=_CONNECTIONS,
        # Long enough for every sentence, also on a slow server.
        seconds=options.seconds if options.tiny else 3 * options.seconds,
        drain_seconds=30,
    )

    def call() -> float:
        result = run_load(options.program, plan)
        result.check(contestant.server.name)
        return texts.tokens(result.ok) / result.seconds

    return call


def _alone(model: Model, texts: _Texts, seconds: float, *, tokenized: bool) -> Callable[[], float]:
    """The model in this process, asked in batches of as many texts as there are connections."""
    asked: list[dict[str, InputValue]] = [
        {"input_ids": batch.ids, "attention_mask": batch.mask} if tokenized else {"text": part}
        for batch, part in zip(
            batches_of(texts.rows, _CONNECTIONS),
            [texts.texts[i : i + _CONNECTIONS] for i in range(0, len(texts.rows), _CONNECTIONS)],
            strict=True,
        )
    ]

    def call() -> float:
        begin = time.perf_counter()
        done = 0
        while (taken := time.perf_counter() - begin) < seconds:
            for inputs in asked:
                model.run(inputs)
            done += len(texts.rows)
        return texts.tokens(done) / taken

    return call

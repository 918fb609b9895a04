"""Runs the engines against each other and makes figures of it."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from bench.engine.engines import Engine, OnnxRuntimeEngine, PeltonEngine, pass_over
from bench.engine.onnx_graph import FORMS, build_graph
from bench.engine.workload import Batch, EncoderShape, batches_of, sentences, uniform_batch
from bench.measure import Timing, interleave, paired_ratio
from bench.native import Peak, measure_peak
from bench.oracle import Difference, difference, expected_embeddings
from bench.report import Figure, Section, table

__all__ = ["EngineOptions", "run_engine"]

#: Below this share of the peak the peer is not at its best, and no ratio to it means anything.
PEER_SHARE_MIN: Final = 0.55
_PEER_ERROR_MAX: Final = 1e-5
_ERROR_MAX: Final = 2e-6
_COSINE_MIN: Final = 0.999999
_BATCH_ROWS: Final = 32
_TRIAL_ROUNDS: Final = 5
_PEER: Final = "ONNX Runtime fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """`tiny` runs everything once on little, to see that it works: its figures mean nothing."""

    folder: Path
    program: Path
    isa: str
    threads: int = 2
    rounds: int = 15
    seed: int = 1
    tiny: bool = False

    @property
    def judges_peer(self) -> bool:
        """Whether a slow peer stops the run: on little nobody is at his best."""
        return not self.tiny

    @property
    def uniform(self) -> Sequence[tuple[int, int]]:
        """Rows and tokens of each."""
        return [(2, 16)] if self.tiny else [(32, 64), (8, 64), (1, 16), (1, 128), (32, 128)]

    @property
    def sentence_count(self) -> int:
        return 8 if self.tiny else 256

    @property
    def batch_rows(self) -> int:
        return 4 if self.tiny else _BATCH_ROWS

    @property
    def sample_seconds(self) -> float:
        return 0.0 if self.tiny else 0.02


@dataclass(frozen=True, slots=True)
class Share:
    """Of the peak: the best round's, of the median peak, and the median over the rounds of each
    one's share of its own peak."""

    best: float
    median: float

    def __str__(self) -> str:
        return f"{self.best:.0%} / {self.median:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One workload run by both engines in turns; `peaks` of the machine, one per round, or none."""

    name: str
    tokens: int
    multiply_adds: int
    ours: Timing
    peer: Timing
    peer_name: str
    peaks: tuple[Peak, ...]

    @property
    def ratio(self) -> float:
        return paired_ratio(self.peer, self.ours)

    @property
    def ratio_of_best(self) -> float:
        return self.peer.best / self.ours.best

    def rate(self, seconds: float) -> float:
        """Multiply-adds per second, in thousands of millions."""
        return self.multiply_adds / seconds / 1e9

    def tokens_per_second(self, timing: Timing) -> float:
        return self.tokens / timing.median

    def shares(self, timing: Timing) -> tuple[Share, Share]:
        """Of the peak in registers only, and of that with a GEMM's loads."""
        registers = [peak.registers for peak in self.peaks]
        return self._share(timing, registers), self._share(timing, [p.tile for p in self.peaks])

    def _share(self, timing: Timing, peaks: Sequence[float]) -> Share:
        pairs = zip(timing.seconds, peaks, strict=True)
        return Share(
            best=self.rate(timing.best) / statistics.median(peaks),
            median=statistics.median(self.rate(seconds) / peak for seconds, peak in pairs),
        )


class _Arena:
    """Both engines loaded."""

    def __init__(self, options: EngineOptions, graphs: Path) -> None:
        self.options = options
        self.shape = EncoderShape.of(options.folder)
        self.ours = PeltonEngine(options.folder, threads=options.threads)
        self.peers: list[Engine] = []
        for form in FORMS:
            path = graphs / f"{form}.onnx"
            onnx.save(build_graph(options.folder, form), str(path))
            for spinning in (False, True):
                self.peers.append(
                    OnnxRuntimeEngine(path, form=form, threads=options.threads, spinning=spinning)
                )

    def measure_peak(self) -> Peak:
        options = self.options
        seconds = 0.01 if options.tiny else 0.1
        return measure_peak(
            options.program, isa=options.isa, threads=options.threads, seconds=seconds
        )

    def duel(self, name: str, batches: Sequence[Batch], *, with_peak: bool = False) -> Duel:
        """Pelton against the peer's fastest form for this workload; `with_peak` measures that of
        the machine in every round, too."""
        options = self.options
        peaks: list[Peak] = []

        def calls(engines: Sequence[Engine]) -> dict[str, Callable[[], object]]:
            return {engine.name: pass_over(engine, batches) for engine in engines}

        trial = interleave(
            calls(self.peers),
            rounds=1 if options.tiny else _TRIAL_ROUNDS,
            sample_seconds=options.sample_seconds,
        )
        peer = min(self.peers, key=lambda engine: trial[engine.name].median)
        times = interleave(
            calls([self.ours, peer]),
            rounds=options.rounds,
            sample_seconds=options.sample_seconds,
            before_round=lambda: peaks.append(self.measure_peak()) if with_peak else None,
        )
        lengths = [int(n) for batch in batches for n in batch.lengths]
        return Duel(
            name=name,
            tokens=sum(lengths),
            multiply_adds=self.shape.multiply_adds(lengths),
            ours=times[self.ours.name],
            peer=times[peer.name],
            peer_name=peer.name,
            peaks=tuple(peaks),
        )


def run_engine(options: EngineOptions) -> Section:
    """Exits where an engine's outputs are wrong, or the peer is not at its best."""
    rows = sentences(options.folder, options.sentence_count, options.seed)
    unsorted = batches_of(rows, options.batch_rows)
    by_length = batches_of(sorted(rows, key=len), options.batch_rows)
    with tempfile.TemporaryDirectory() as graphs:
        arena = _Arena(options, Path(graphs))
    try:
        found = _check_outputs(arena, rows, unsorted)
        uniform = []
        for row_count, width in options.uniform:
            batch = uniform_batch(row_count, width, options.seed)
            uniform.append(arena.duel(f"{row_count} x {width}", [batch], with_peak=True))
        peer_share = max(duel.shares(duel.peer)[0].best for duel in uniform)
        print(f"bench: {_PEER} reaches {peer_share:.0%} of the fp32 peak", flush=True)
        if options.judges_peer and peer_share < PEER_SHARE_MIN:
            raise SystemExit(
                f"bench: {_PEER} reaches {peer_share:.0%} of the fp32 peak on uniform batches: "
                f"below {PEER_SHARE_MIN:.0%} it is not at its best (is the machine busy?)"
            )
        mixed = [
            arena.duel("mixed, unsorted", unsorted),
            arena.duel("mixed, sorted", by_length),
        ]
    finally:
        arena.ours.close()
    section = Section(f"Engine: MiniLM fp32, {options.threads} threads, {options.isa}")
    section.figures = _figures(mixed, uniform, found, options)
    section.add(*_details(mixed, uniform, rows))
    return section


def _check_outputs(
    arena: _Arena, rows: Sequence[Sequence[int]], batches: Sequence[Batch]
) -> Difference:
    """Pelton's difference from the oracle; exits where a peer's is too large to be timed."""
    expected = expected_embeddings(arena.options.folder, rows)
    for engine in (arena.ours, *arena.peers):
        error = difference(pass_over(engine, batches)(), expected).error
        if not error <= _PEER_ERROR_MAX:
            raise SystemExit(
                f"bench: {engine.name}: outputs differ from the float64 oracle by {error:.1e}; "
                f"expected at most {_PEER_ERROR_MAX:.0e}"
            )
    return difference(pass_over(arena.ours, batches)(), expected)


def _figures(
    mixed: Sequence[Duel],
    uniform: Sequence[Duel],
    found: Difference,
    options: EngineOptions,
) -> list[Figure]:
    return [
        *_mixed_figures(mixed, options),
        *(_uniform_figure(duel) for duel in uniform[1:]),
        *_peak_figures(uniform[0]),
        *_output_figures(found),
    ]


def _mixed_figures(mixed: Sequence[Duel], options: EngineOptions) -> Iterator[Figure]:
    what = f"MiniLM fp32, {options.sentence_count} real sentences, batch {options.batch_rows}"
    for duel, order, reach in zip(
        mixed, ("unsorted", "sorted by length"), (3.0, 1.25), strict=True
    ):
        yield Figure(
            what=f"{what}, {order}",
            against=_PEER,
            value=duel.ratio,
            shown=f"{duel.ratio:.2f}x ({duel.tokens_per_second(duel.ours):,.0f} tokens/s)",
            reach=reach,
            reach_shown=f"≥ {reach}x",
        )


def _uniform_figure(duel: Duel) -> Figure:
    return Figure(
        what=f"batch {duel.name}",
        against=_PEER,
        value=duel.ratio,
        shown=f"{duel.ratio:.2f}x ({1e3 * duel.ours.median:.2f} ms)",
        reach_shown="aim: 1.2x",
    )


def _peak_figures(duel: Duel) -> list[Figure]:
    registers, tile = duel.shares(duel.ours)
    return [
        Figure(
            what=f"share of the fp32 peak, batch {duel.name}",
            against="multiply-adds in registers only",
            value=registers.median,
            shown=f"{registers.median:.0%} ({duel.rate(duel.ours.median):.0f} GMAC/s)",
            reach=0.8,
            reach_shown="≥ 80 %",
        ),
        Figure(
            what=f"the same, batch {duel.name}",
            against="multiply-adds with a GEMM's loads from L1",
            value=tile.median,
            shown=f"{tile.median:.0%}",
        ),
    ]


def _output_figures(found: Difference) -> list[Figure]:
    return [
        Figure(
            what="outputs: largest absolute error",
            against="the float64 oracle",
            value=found.error,
            shown=f"{found.error:.1e}",
            reach=_ERROR_MAX,
            reach_shown=f"≤ {_ERROR_MAX:.0e}",
            lower=True,
        ),
        Figure(
            what="outputs: smallest cosine",
            against="the float64 oracle",
            value=found.cosine,
            shown=f"{found.cosine:.9f}",
            reach=_COSINE_MIN,
            reach_shown=f"≥ {_COSINE_MIN}",
        ),
    ]


def _milliseconds(timing: Timing) -> str:
    return f"{1e3 * timing.best:.2f} / {1e3 * timing.median:.2f}"


def _details(
    mixed: Sequence[Duel], uniform: Sequence[Duel], rows: Sequence[Sequence[int]]
) -> list[str]:
    lengths = [len(row) for row in rows]
    return [
        f"Mixed: {len(lengths)} sentences of `pydoc_data.topics`, {min(lengths)} to {max(lengths)} "
        f"tokens, {sum(lengths) / len(lengths):.1f} on average; a pass over all of them is timed, "
        "useful tokens are counted. Uniform: one batch, rows x tokens, nothing padded.",
        _time_table([*mixed, *uniform]),
        "Shares of the peak: best round, of the median peak / median over the rounds, the peak "
        "measured in each. Counted are the multiply-adds of the matrix products; GELU, norms and "
        "softmax come on top.",
        _share_table(uniform),
    ]


def _time_table(duels: Sequence[Duel]) -> str:
    header = ("batch", "tokens", "Pelton ms, best / median", f"{_PEER} ms, best / median",
              "its form", "ratio of bests", "paired median ratio")  # fmt: skip
    rows = [
        (
            duel.name,
            str(duel.tokens),
            _milliseconds(duel.ours),
            _milliseconds(duel.peer),
            duel.peer_name,
            f"{duel.ratio_of_best:.2f}x",
            f"{duel.ratio:.2f}x",
        )
        for duel in duels
    ]
    return table(header, rows)


def _share_table(duels: Sequence[Duel]) -> str:
    header = ("batch", "", "GMAC/s, best / median", "of registers only", "of a GEMM's loads")
    rows: list[tuple[str, ...]] = []
    for duel in duels:
        for name, timing in (("Pelton", duel.ours), (_PEER, duel.peer)):
            rate = f"{duel.rate(timing.best):.1f} / {duel.rate(timing.median):.1f}"
            rows.append((duel.name, name, rate, *map(str, duel.shares(timing))))
        registers = [peak.registers for peak in duel.peaks]
        tile = [peak.tile for peak in duel.peaks]
        shown = (f"{max(p):.1f} / {statistics.median(p):.1f}" for p in (registers, tile))
        rows.append((duel.name, "peak, GMAC/s", "", *shown))
    return table(header, rows)

"""What the writer writes, the engine's reader takes and gives back."""

from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from pelton.bridge import open_plan
from pelton.compiler import (
    ROWS,
    TOKENS,
    Activation,
    Binary,
    Graph,
    GraphBuilder,
    Pooling,
    plan_metadata,
    plan_writer,
    write_plan,
)
from pelton.compiler import plan_format as fmt
from pelton.errors import UnsupportedModel


def mlp(sizes: tuple[int, ...] = (512, 1024, 512, 256, 1)) -> Graph:
    builder = GraphBuilder("mlp")
    random = np.random.default_rng(1)
    x = builder.input("x", (ROWS, sizes[0]))
    for i, (depth, columns) in enumerate(itertools.pairwise(sizes)):
        weight = random.normal(size=(depth, columns)).astype(np.float32)
        activation = Activation.RELU if i + 2 < len(sizes) else Activation.NONE
        x = builder.gemm(x, weight, np.zeros(columns), activation=activation)
    builder.output("y", x)
    return builder.build()


def written(graph: Graph, path: Path, **attachments: bytes) -> Path:
    write_plan(graph, path, plan_metadata(graph), attachments)
    return path


@pytest.mark.parametrize(
    ("depth", "columns"), [(1, 1), (3, 15), (3, 16), (4, 17), (5, 40), (2, 32)]
)
def test_panels(depth: int, columns: int) -> None:
    weight = np.arange(1, depth * columns + 1, dtype=np.float32).reshape(depth, columns)
    packed = plan_writer.pack_panels(weight)
    panels = -(-columns // 16)
    assert packed.shape == (panels, depth, 16)
    for k in range(depth):
        for column in range(panels * 16):
            expected = weight[k, column] if column < columns else 0.0
            assert packed[column // 16, k, column % 16] == expected


def test_panels_of_a_transposed_view() -> None:
    weight = np.random.default_rng(1).normal(size=(20, 7)).astype(np.float32)
    np.testing.assert_array_equal(
        plan_writer.pack_panels(weight.T), plan_writer.pack_panels(np.ascontiguousarray(weight.T))
    )


def test_dense_plan_opens(tmp_path: Path) -> None:
    plan = open_plan(written(mlp(), tmp_path / "mlp.plan"))
    assert not plan.ragged
    assert [(t.name, t.dtype, t.shape) for t in plan.inputs] == [("x", "FP32", (ROWS, 512))]
    assert [(t.name, t.dtype, t.shape) for t in plan.outputs] == [("y", "FP32", (ROWS, 1))]
    assert [i["op"] for i in plan.instructions()] == ["gemm"] * 4
    assert plan.metadata["kind"] == "tensor"
    assert plan.metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 512]}]


def test_every_op_opens(tmp_path: Path) -> None:
    builder = GraphBuilder("all")
    ids = builder.input("ids", (TOKENS,), "INT32")
    ones = np.ones((30, 30), np.float32)
    x = builder.embedding(
        ids,
        builder.weight(ones[:9, :6]),
        positions=builder.weight(ones[:7, :6]),
        types=builder.weight(ones[:2, :6]),
        first_position=2,
    )
    x = builder.layer_norm(x, builder.weight(ones[0, :6]), builder.weight(ones[0, :6]), 1e-5)
    qkv = builder.gemm(x, ones[:6, :18], ones[0, :18])
    x = merged_attention(builder, qkv, x)
    x = builder.activation(x, Activation.TANH)
    x = builder.binary(x, 0.5, Binary.MULTIPLY)
    x = builder.binary(x, ones[0, :6], Binary.DIVIDE)
    x = builder.binary(x, x, Binary.SUBTRACT)
    builder.output("y", builder.normalize(builder.pool(x, Pooling.MAX)))
    plan = open_plan(written(builder.build(), tmp_path / "all.plan"))
    assert plan.ragged
    assert {i["op"] for i in plan.instructions()} == {
        "embedding",
        "layer_norm",
        "gemm",
        "ragged_attention",
        "activation",
        "binary",
        "pool",
        "l2_normalize",
    }


def merged_attention(builder: GraphBuilder, qkv: str, x: str) -> str:
    """An attention whose q, k and v are one tensor, as after `merge_qkv`."""
    name = builder.attention(x, x, x, heads=2)
    builder._nodes[-1] = builder._nodes[-1].with_operands(qkv=qkv, k=None, v=None)
    return name


def test_attachments_and_metadata_come_back(tmp_path: Path) -> None:
    graph = mlp((3, 2))
    files = {"tokenizer.json": b"{}", "étiquettes.txt": b"non\noui\n", "empty": b""}
    plan = open_plan(written(graph, tmp_path / "x.plan", **files))
    assert {name: plan.attachment(name) for name in plan.attachments} == files
    assert plan.metadata == json.loads(json.dumps(plan_metadata(graph)))


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    first = written(mlp(), tmp_path / "1.plan", a=b"1", b=b"2").read_bytes()
    assert written(mlp(), tmp_path / "2.plan", a=b"1", b=b"2").read_bytes() == first


def test_weights_lie_where_the_records_say(tmp_path: Path) -> None:
    graph = mlp((20, 33, 5))
    data = written(graph, tmp_path / "x.plan").read_bytes()
    header = np.frombuffer(data, fmt.HEADER, 1)[0]
    sections = np.frombuffer(data, fmt.SECTION, header["section_count"], fmt.HEADER.itemsize)
    place = sections[2]
    records = np.frombuffer(data, fmt.TENSOR, len(graph.tensors), int(place["offset"]))
    for record, tensor in zip(records, graph.tensors.values(), strict=True):
        if tensor.data is None:
            continue
        begin = int(sections[record["weight_section"]]["offset"] + record["weight_offset"])
        raw = data[begin : begin + int(record["weight_bytes"])]
        panels = record["layout"] == fmt.Layout.PANELS16
        expected = plan_writer.pack_panels(tensor.data) if panels else tensor.data
        assert begin % fmt.WEIGHT_ALIGNMENT == 0
        assert raw == expected.tobytes()


def test_large_weights_are_split_into_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_writer, "WEIGHT_SECTION_BYTES_MAX", 64 * 1024)
    path = written(mlp((64, 256, 128, 64, 3)), tmp_path / "x.plan")
    header = np.frombuffer(path.read_bytes(), fmt.HEADER, 1)[0]
    assert header["section_count"] - 4 >= 3
    open_plan(path).verify_weights()


def test_a_weight_in_two_layouts_is_refused(tmp_path: Path) -> None:
    builder = GraphBuilder("both")
    x = builder.input("x", (ROWS, 4))
    shared = builder.weight(np.ones((4, 4), np.float32), "shared")
    table = builder.embedding(builder.input("ids", (TOKENS,), "INT32"), shared)
    builder.output("y", builder.gemm(x, shared))
    builder.output("z", builder.pool(table, Pooling.CLS))
    with pytest.raises(UnsupportedModel, match="shared"):
        written(builder.build(), tmp_path / "x.plan")


def test_separate_q_k_v_are_refused(tmp_path: Path) -> None:
    builder = GraphBuilder("apart")
    x = builder.input("x", (TOKENS, 4))
    builder.output("y", builder.pool(builder.attention(x, x, x, 2), Pooling.CLS))
    with pytest.raises(UnsupportedModel, match="products of one input"):
        written(builder.build(), tmp_path / "x.plan")


@pytest.mark.parametrize("name", ["", "n" * 1025, "a\0b"])
def test_names_that_no_plan_holds(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="expected 1 to 1024 bytes"):
        write_plan(mlp((2, 2)), tmp_path / "x.plan", {}, {name: b""})


def test_too_many_dimensions(tmp_path: Path) -> None:
    builder = GraphBuilder("deep")
    x = builder.input("x", (ROWS, *[1] * 8))
    builder.output("y", builder.activation(x, Activation.TANH))
    with pytest.raises(UnsupportedModel, match="at most 8 dimensions, got 9"):
        written(builder.build(), tmp_path / "x.plan")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.plan"
    path.write_bytes(b"old")

    def parts() -> object:
        yield b"new"
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        plan_writer.write_file(path, parts())  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.plan"]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        plan_writer.write_file(tmp_path / "shared", [b""])
        plan_writer.write_file(tmp_path / "private", [b""], mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600

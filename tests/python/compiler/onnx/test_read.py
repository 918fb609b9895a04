"""Reading ONNX files: what is taken, and the name of every refusal."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pelton.compiler.onnx import _import, _wire
from pelton.compiler.onnx.dtypes import BY_CODE
from pelton.compiler.onnx.graph import OtherType, TensorType
from pelton.compiler.onnx.read import read_model
from pelton.errors import UnsupportedModel
from python.compiler.onnx.models import FLOAT, INT64, info, make, mlp, save

Change = Callable[[Any], object]


def reference(name: str, to: str) -> Any:
    return onnx.AttributeProto(name=name, ref_attr_name=to, type=onnx.AttributeProto.FLOAT)


def test_an_mlp_is_read(tmp_path: Path) -> None:
    proto = mlp()
    model = read_model(save(tmp_path, proto))
    graph = model.graph
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.inputs[0].dtype == "FP32"
    assert [str(dim) for dim in graph.inputs[0].shape or ()] == ["batch", "4"]
    assert [node.op for node in graph.nodes] == ["Gemm", "Relu", "MatMul"]
    assert [node.since_version for node in graph.nodes] == [13, 14, 13]
    assert model.opsets == {"": 17}
    for tensor in proto.graph.initializer:
        np.testing.assert_array_equal(
            graph.initializers[tensor.name].array, numpy_helper.to_array(tensor)
        )


def test_weights_are_not_copied(tmp_path: Path) -> None:
    weights = {"w": np.ones((1024, 2048), np.float32)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save(tmp_path, make([node], [info("x", [1, 1024])], [info("y", None)], weights))
    read_model(save(tmp_path, mlp(), "warm.onnx"))
    tracemalloc.start()
    model = read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    array = model.graph.initializers["w"].array
    assert peak < 1.2 * array.nbytes
    assert not array.flags.writeable
    assert array[-1, -1] == 1


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
@pytest.mark.parametrize("count", [3, 1000])
@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_every_element_type(tmp_path: Path, code: int, count: int, typed: bool) -> None:
    random = np.random.default_rng(code)
    if code == TensorProto.STRING:
        tensor = helper.make_tensor("w", code, [count], [b"a%d" % i for i in range(count)])
    else:
        numpy_type = helper.tensor_dtype_to_np_dtype(code)
        values = random.integers(0, 2, count).astype(numpy_type)
        tensor = numpy_helper.from_array(values, "w")
        if typed:
            tensor = helper.make_tensor("w", code, [count], values.astype(object).tolist())
    model = make([helper.make_node("Identity", ["w"], ["y"])], [], [info("y", None, code)])
    model.graph.initializer.append(tensor)
    found = read_model(save(tmp_path, model)).graph.initializers["w"]
    assert found.dtype == BY_CODE[code].name
    expected = numpy_helper.to_array(tensor)
    if code == TensorProto.STRING:
        assert list(found.array) == list(tensor.string_data)
    elif found.has_array:
        assert found.array.dtype == expected.dtype
        assert found.array.tobytes() == expected.tobytes()
    else:
        raw = numpy_helper.from_array(expected, "w").raw_data
        assert bytes(found.raw) == raw


def test_weights_as_constants_and_as_inputs(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.arange(500, dtype=np.float32), "c")
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    inputs = [info("x", [500]), info("w", [500])]
    model = make(nodes, inputs, [info("y", [500])], {"w": np.ones(500, np.float32)})
    graph = read_model(save(tmp_path, model)).graph
    assert [value.name for value in graph.inputs] == ["x"]
    np.testing.assert_array_equal(
        graph.nodes[0].attributes["value"].array, np.arange(500, dtype=np.float32)
    )


def test_nodes_are_put_in_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["a"], ["y"]),
        helper.make_node("Neg", ["x"], ["a"]),
    ]
    graph = read_model(save(tmp_path, make(nodes, [info("x", [1])], [info("y", [1])]))).graph
    assert [node.op for node in graph.nodes] == ["Neg", "Relu"]


def branches(then_name: str = "t", outer: str = "x") -> Any:
    then = helper.make_graph(
        [helper.make_node("Neg", [outer], [then_name])], "then", [], [info(then_name, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["t"])], "else", [], [info("t", None)]
    )
    return helper.make_node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)


def test_names_in_subgraphs_become_unique(tmp_path: Path) -> None:
    inputs = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    graph = read_model(save(tmp_path, make([branches()], inputs, [info("y", None)]))).graph
    first, second = graph.nodes[0].subgraphs
    assert first.outputs[0].name != second.outputs[0].name
    assert first.captures == ("x",)
    assert graph.nodes[0].uses == ("c", "x")


def test_a_missing_subgraph_input_is_refused(tmp_path: Path) -> None:
    inputs = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    path = save(tmp_path, make([branches(outer="nowhere")], inputs, [info("y", None)]))
    with pytest.raises(UnsupportedModel, match=r"node 0 \(Neg\) of subgraph 'then'.*'nowhere'"):
        read_model(path)


def test_subgraphs_are_bounded(tmp_path: Path) -> None:
    def nested(depth: int) -> Any:
        name = f"v{depth}"
        if depth == 0:
            node = helper.make_node("Neg", ["x"], [name])
        else:
            node = helper.make_node("If", ["c"], [name], then_branch=nested(depth - 1))
            node.attribute.append(helper.make_attribute("else_branch", nested(0)))
        return helper.make_graph([node], "n", [], [info(name, None)])

    inputs = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    depth = _import.SUBGRAPH_DEPTH_MAX + 1
    inner = nested(depth)
    model = make(inner.node, inputs, [info(f"v{depth}", None)])
    with pytest.raises(UnsupportedModel, match="nested at most"):
        read_model(save(tmp_path, model))


def test_functions_are_read(tmp_path: Path) -> None:
    body = helper.make_node("LeakyRelu", ["a"], ["b"])
    body.attribute.append(reference("alpha", "k"))
    function = helper.make_function(
        "mine", "Soft", ["a"], ["b"], [body], [helper.make_opsetid("", 17)], ["k"]
    )
    model = make(
        [helper.make_node("Soft", ["x"], ["y"], domain="mine", k=0.5)],
        [info("x", [3])],
        [info("y", [3])],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )
    model.functions.append(function)
    found = read_model(save(tmp_path, model))
    assert list(found.functions) == [("mine", "Soft", "")]
    model.functions[0].node[0].op_type = "Soft"
    model.functions[0].node[0].domain = "mine"
    with pytest.raises(UnsupportedModel, match="call itself"):
        read_model(save(tmp_path, model))


def test_other_types_are_kept(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, [2])
    node = helper.make_node("SequenceAt", ["s", "i"], ["y"])
    model = make([node], [sequence, info("i", [], INT64)], [info("y", [2])])
    graph = read_model(save(tmp_path, model)).graph
    assert isinstance(graph.inputs[0].type, OtherType)
    assert graph.inputs[0].type.kind == "sequence"
    assert graph.inputs[1].type == TensorType("INT64", ())


# What is refused ------------------------------------------------------------------------------


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


FOREIGN = {
    "empty": (b"", "an empty file"),
    "gguf": (b"GGUF\3\0\0\0" + b"\0" * 64, "GGUF"),
    "safetensors": (safetensors(), "safetensors"),
    "zip": (zipped(), "zip archive"),
    "pickle": (b"\x80\x02}q\x00.", "pickle"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "HDF5"),
    "saved_model": (b"\x08\x01\x12\xf0\x07\n\x05serve" + b"\0" * 16, "SavedModel"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
    "text": (b"hello world\n", "plain text"),
    "json": (b'{"a": 1}', "JSON"),
    "html": (b"<!DOCTYPE html><html></html>", "HTML"),
    "gzip": (gzip.compress(b"x"), "gzip"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 64, "TensorFlow Lite"),
    "ort": (b"\x1c\0\0\0ORTM" + b"\0" * 64, "ORT-format"),
    "zeros": (b"\0" * 5000, "zeros"),
    "elf": (b"\x7fELF\2\1\1" + b"\0" * 64, "Linux program"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_formats_are_named(tmp_path: Path, kind: str) -> None:
    data, name = FOREIGN[kind]
    with pytest.raises(UnsupportedModel, match=name) as caught:
        read_model(save(tmp_path, data, "model.onnx"))
    assert "model.onnx" in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="No such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(UnsupportedModel, match="no regular file"):
        read_model(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UnsupportedModel, match="no regular file"):
        read_model(tmp_path / "pipe.onnx")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = mlp().SerializeToString()
    cuts = {*range(1, 60), *range(60, len(data), 211), len(data) - 1}
    for cut in cuts:
        with pytest.raises(UnsupportedModel):
            read_model(save(tmp_path, data[:cut]))


def test_a_truncated_model_names_the_offset(tmp_path: Path) -> None:
    data = mlp().SerializeToString()
    with pytest.raises(UnsupportedModel, match="corrupt or truncated") as caught:
        read_model(save(tmp_path, data[:-100]))
    assert caught.value.offset is not None


def test_a_model_of_structure_alone_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wire, "SLIM_BYTES_MAX", 100)
    with pytest.raises(UnsupportedModel, match="more than 100 bytes"):
        read_model(save(tmp_path, mlp()))
    monkeypatch.undo()
    monkeypatch.setattr(_import, "NODES_MAX", 2)
    with pytest.raises(UnsupportedModel, match="nodes: expected at most 2, got 3"):
        read_model(save(tmp_path, mlp()))


def set_dims(dims: list[int]) -> Change:
    def change(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return change


def append_node(*args: Any, **more: Any) -> Change:
    return lambda model: model.graph.node.append(helper.make_node(*args, **more))


REFUSED: dict[str, tuple[Change, str]] = {
    "no graph": (lambda m: m.ClearField("graph"), "graph: expected a model with a graph"),
    "no outputs": (lambda m: m.graph.ClearField("output"), "outputs: expected at least one"),
    "newer ir": (lambda m: setattr(m, "ir_version", 99), "IR version: expected 1 to .* got 99"),
    "no ir": (lambda m: m.ClearField("ir_version"), "IR version"),
    "newer opset": (lambda m: setattr(m.opset_import[0], "version", 999), "opset .* got 999"),
    "no opset": (lambda m: m.ClearField("opset_import"), "at least one opset"),
    "foreign opset": (
        append_node("Gelu", ["y"], ["z"], domain="com.microsoft"),
        r"node 3 \(Gelu\): domain: expected opset_import .*com.microsoft",
    ),
    "cycle": (
        lambda m: m.graph.node[0].input.__setitem__(0, "r"),
        r"node 1 'act' \(Relu\): cycle|node 0 'first' \(Gemm\): cycle",
    ),
    "self": (lambda m: m.graph.node[1].input.__setitem__(0, "r"), "cycle"),
    "twice": (
        append_node("Relu", ["x"], ["h"], name="again"),
        r"node 3 'again' \(Relu\): name: expected every value defined once, got 'h' twice",
    ),
    "output is input": (append_node("Relu", ["y"], ["x"]), "'x' twice"),
    "missing": (append_node("Relu", ["gone"], ["z"]), r"node 3 \(Relu\): input 0: .*'gone'"),
    "no such output": (
        lambda m: setattr(m.graph.output[0], "name", "gone"),
        "output 'gone': output: expected a value that the graph defines",
    ),
    "duplicate inputs": (
        lambda m: m.graph.input.append(info("x", [1])),
        "input 'x': name: expected inputs with names of their own",
    ),
    "duplicate weights": (
        lambda m: m.graph.initializer.append(m.graph.initializer[0]),
        "initializer 'w1': name",
    ),
    "absurd": (
        set_dims([2**20, 2**20]),
        "initializer 'w1': raw_data does not fit .*: expected 4398",
    ),
    "overflow": (set_dims([2**62, 2**62]), "initializer 'w1': raw_data does not fit"),
    "negative": (set_dims([-4, -300]), "initializer 'w1': shape: expected .* none negative"),
    "many dims": (set_dims([1] * 100), "at most 64 dimensions"),
    "wrong size": (set_dims([4, 299]), "expected 4784, got 4800"),
    "wrong type": (
        lambda m: setattr(m.graph.initializer[0], "data_type", 10),
        "raw_data does not fit .* expected 2400, got 4800",
    ),
    "unknown type": (
        lambda m: setattr(m.graph.initializer[0], "data_type", 77),
        "initializer 'w1': element type: expected one of 1 to",
    ),
    "untyped input": (
        lambda m: m.graph.input[0].type.ClearField("tensor_type"),
        "input 'x': type",
    ),
    "undefined input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 0),
        "input 'x': element type",
    ),
    "negative input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -7),
        "input 'x': dimension: expected 0 or more, got -7",
    ),
    "two payloads": (
        lambda m: m.graph.initializer[0].int32_data.append(1),
        "one field of values",
    ),
    "no payload": (lambda m: m.graph.initializer[0].ClearField("raw_data"), "float_data does not"),
    "arity": (append_node("Add", ["x"], ["z"]), r"number of inputs: expected 2 to 2, got 1"),
    "attribute": (append_node("Relu", ["x"], ["z"], beta=1), "attributes of the op, got 'beta'"),
    "attribute kind": (append_node("Softmax", ["x"], ["z"], axis=1.5), "kind of attribute 'axis'"),
    "no attribute": (append_node("Cast", ["x"], ["z"]), "expected 'to', which it must have"),
    "no op": (append_node("", ["x"], ["z"]), "the name of an op"),
    "reference": (
        lambda m: m.graph.node[1].attribute.append(reference("alpha", "k")),
        "references in functions only",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_models_are_refused_by_name(tmp_path: Path, name: str) -> None:
    model = mlp()
    change, message = REFUSED[name]
    change(model)
    with pytest.raises(UnsupportedModel, match=message) as caught:
        read_model(save(tmp_path, model))
    assert str(tmp_path / "m.onnx") in caught.value.message
    assert caught.value.expected


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = mlp().SerializeToString().replace(b"first", b"fi\xffst")
    with pytest.raises(UnsupportedModel, match="UTF-8"):
        read_model(save(tmp_path, data))


def test_what_only_looks_like_a_mark_is_data(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = make([node], [info("x", [6])], [info("y", [6])], {"w": values})
    assert len(model.graph.initializer[0].raw_data) == 24
    tensor = read_model(save(tmp_path, model)).graph.initializers["w"]
    np.testing.assert_array_equal(tensor.array, values)


def test_sparse_weights_become_dense(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.array([3, 4], np.float32), "w")
    for indices in ([[0, 1], [2, 0]], [1, 4]):
        positions = numpy_helper.from_array(np.array(indices, np.int64), "i")
        sparse = helper.make_sparse_tensor(values, positions, [3, 2])
        model = make(
            [helper.make_node("Add", ["x", "w"], ["y"])], [info("x", [3, 2])], [info("y", None)]
        )
        model.graph.sparse_initializer.append(sparse)
        found = read_model(save(tmp_path, model)).graph.initializers["w"].array
        np.testing.assert_array_equal(found, np.array([[0, 3], [0, 0], [4, 0]], np.float32))
        sparse.dims[0] = 2**40
        del model.graph.sparse_initializer[:]
        model.graph.sparse_initializer.append(sparse)
        with pytest.raises(UnsupportedModel, match="dense form of at most"):
            read_model(save(tmp_path, model))


# External data --------------------------------------------------------------------------------


def external(folder: Path, **entries: str) -> Path:
    model = mlp()
    tensor = model.graph.initializer[0]
    (folder / "w.bin").write_bytes(b"\0" * 4096 + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "4096", "length": "4800", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return save(folder, model)


@pytest.mark.parametrize("entries", [{}, {"length": ""}, {"location": "./w.bin"}])
def test_external_data_is_mapped(tmp_path: Path, entries: dict[str, str]) -> None:
    tensor = read_model(external(tmp_path, **entries)).graph.initializers["w1"]
    expected = numpy_helper.to_array(mlp().graph.initializer[0])
    np.testing.assert_array_equal(tensor.array, expected)
    assert not tensor.array.flags.writeable


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/passwd"}, "inside the model's folder"),
        ({"location": "../w.bin"}, "inside the model's folder"),
        ({"location": "a/../../w.bin"}, "inside the model's folder"),
        ({"location": ""}, "inside the model's folder"),
        ({"location": "gone.bin"}, "a file beside the model"),
        ({"location": "x" * 5000}, "a file beside the model"),
        ({"location": "."}, "a regular file"),
        ({"offset": "4097"}, "bytes 4097 to 8897, got a file of 8896 bytes"),
        ({"offset": str(2**60)}, "got a file of"),
        ({"offset": "-1"}, "a number of bytes"),
        ({"offset": "9" * 400}, "a number of bytes"),
        ({"length": "4796"}, "4800 bytes"),
    ],
)
def test_bad_external_data_is_refused(
    tmp_path: Path, entries: dict[str, str], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message) as caught:
        read_model(external(tmp_path, **entries))
    assert "m.onnx: initializer 'w1'" in caught.value.message


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(UnsupportedModel, match="inside the model's folder"):
        read_model(path)


def test_a_download_cache_of_links_is_read(tmp_path: Path) -> None:
    """Model and weights are links into one folder of blobs, as Hugging Face's cache has them."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    external(blobs).rename(blobs / "1234")
    (blobs / "w.bin").rename(blobs / "5678")
    (snapshot / "m.onnx").symlink_to(blobs / "1234")
    (snapshot / "w.bin").symlink_to(blobs / "5678")
    tensor = read_model(snapshot / "m.onnx").graph.initializers["w1"]
    assert tensor.array.shape == (4, 300)


def test_external_data_that_shrank_is_refused(tmp_path: Path) -> None:
    tensor = read_model(external(tmp_path)).graph.initializers["w1"]
    (tmp_path / "w.bin").write_bytes(b"short")
    with pytest.raises(UnsupportedModel, match="changed after it was read"):
        _ = tensor.array


def test_the_newest_of_the_package_is_read(tmp_path: Path) -> None:
    model = mlp()
    model.ir_version = onnx.IR_VERSION
    model.opset_import[0].version = onnx.defs.onnx_opset_version()
    assert read_model(save(tmp_path, model)).ir_version == onnx.IR_VERSION

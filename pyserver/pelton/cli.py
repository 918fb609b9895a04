"""The command line: serve, compile, inspect, run, bench, models, doctor.

Exit codes: 0 done, 1 it failed and stderr says why in one line, 2 wrong usage. With `--json` stdout
carries one JSON document and nothing else. What a command needs is imported by that command: the
start of a server is measured against nothing but the imports of its libraries.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pelton.errors import Error, InvalidInput, InvalidSettings
from pelton.settings import KEYS, QUANTIZE_SUPPORTED, Settings, load_settings

if TYPE_CHECKING:
    from pelton.model import Model

__all__ = ["main"]

_DONE: Final = 0
_FAILED: Final = 1
_USAGE: Final = 2
_MODEL_HELP: Final = "an .onnx file, a folder with a Hugging Face encoder, or a compiled .plan"
_ENGINES: Final = "|".join(KEYS["engine"].choices)
_PREVIEW_VALUES: Final = 6
_LOAD_S_MAX: Final = 3600.0
_BENCH_SIZE_MAX: Final = 65_536


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except InvalidSettings as error:
        return _fail(error.message, _USAGE)
    except Error as error:
        return _fail(error.message, _FAILED)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except OSError as error:
        return _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), _FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", _FAILED)


def _fail(message: str, code: int) -> int:
    print("pelton: " + " ".join(message.split()), file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """One line on stderr for wrong usage, as for everything else."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pelton",
        description="An inference server with its own native engine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_serve(commands)
    _add_compile(commands)
    _add_inspect(commands)
    _add_run(commands)
    _add_bench(commands)
    _add_models(commands)
    _add_doctor(commands)
    return parser


class _ShowVersion(argparse.Action):
    """Reads the distribution's metadata, which is slow, only when asked to."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"pelton {version('pelton')}")
        parser.exit(_DONE)


def _command(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, allow_abbrev=False
    )
    parser.set_defaults(command=run)
    return parser


def _add_serve(commands: Any) -> None:
    parser = _command(commands, "serve", "serve models over HTTP", _serve)
    parser.add_argument("models", nargs="*", metavar="[NAME=]MODEL", help=_MODEL_HELP)
    parser.add_argument("--config", metavar="FILE.toml", help="settings (default: pelton.toml)")
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for key in KEYS.values():
        expected = "|".join(key.choices) if key.choices else key.kind.upper()
        default = key.default_shown or str(defaults[key.name]) or "none"
        parser.add_argument(
            key.flag,
            dest=f"key_{key.name}",
            metavar=expected,
            help=f"{key.about} (default: {default})",
        )


def _settings(arguments: argparse.Namespace, warnings: list[str] | None = None) -> Settings:
    """The settings of a command: its own flags over everything else. `warnings`, where given,
    collects what is to be logged when it is known how."""
    flags = {
        name.removeprefix("key_"): value
        for name, value in vars(arguments).items()
        if name.startswith("key_")
    }
    config = getattr(arguments, "config", None)
    warn: Callable[[str], object] = _warn if warnings is None else warnings.append
    return load_settings(config=config, flags=flags, search=True, warn=warn)


def _warn(message: str) -> None:
    print(f"pelton: warning: {message}", file=sys.stderr)


def _named_models(given: Sequence[str]) -> dict[str, str]:
    """NAME=MODEL and MODEL as paths by name. A path may hold "=": what is before the first one is
    a name only if it is no part of an existing path."""
    from pelton.model import default_name

    paths: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text) or os.sep in name:
            name, path = default_name(text), text
        if name in paths:
            raise InvalidSettings(f"two models are named {name!r}; write NAME=MODEL", field="name")
        if not name or not path:
            raise InvalidSettings(f"expected NAME=MODEL, got {text!r}", field="name")
        paths[name] = path
    return paths


def _serve(arguments: argparse.Namespace) -> int:
    from pelton._logs import configure_logging, log_warnings

    # The server multiplies no matrices in NumPy; a thread for each CPU would only take memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings: list[str] = []
    settings = _settings(arguments, warnings)
    configure_logging(settings.log_format, settings.log_level)
    log_warnings(warnings)
    paths = _named_models(arguments.models)
    if not paths and not settings.repository:
        raise InvalidSettings("expected a MODEL, or --repository DIR", field="models")
    if settings.workers > 1:
        from pelton.workers import serve_with_workers

        return _end_of_serving(serve_with_workers(paths, settings))
    loading = _Loading(paths, settings)
    # What lives until the end is made now: the server collects again when it listens.
    gc.disable()
    try:
        # Mapping the plan and checking its sums go on while the web stack is imported.
        loading.start()
        with loading:
            from pelton.app import bind, serve

            with bind(settings.host, settings.port) as sock:
                drained = serve(loading.result(), settings, sock)
    finally:
        gc.enable()
    return _end_of_serving(drained)


def _end_of_serving(drained: bool) -> int:
    return _DONE if drained else _fail("stopped before every request was answered", _FAILED)


class _Loading:
    """Loads models in a thread of its own. A context manager that closes them."""

    def __init__(self, paths: Mapping[str, str], settings: Settings) -> None:
        import threading

        self._paths = paths
        self._settings = settings
        self._models: dict[str, Model] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._load, name="pelton-load")
        self.start = self._thread.start

    def _load(self) -> None:
        try:
            from pelton.model import load

            for name, path in self._paths.items():
                self._models[name] = load(path, name=name, settings=self._settings)
        except BaseException as error:
            self._error = error

    def result(self) -> dict[str, Model]:
        """The models, when all are there; raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._models

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        for model in self._models.values():
            model.close()


def _add_compile(commands: Any) -> None:
    parser = _command(commands, "compile", "compile a model to a plan file", _compile)
    parser.add_argument("model", metavar="MODEL", help="a folder with a Hugging Face encoder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.plan")
    parser.add_argument("--quantize", choices=QUANTIZE_SUPPORTED, default="none")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")


def _compile(arguments: argparse.Namespace) -> int:
    from pelton._progress import progress_bar
    from pelton.compiler import CompileSettings, compile_model
    from pelton.model import default_name

    output: str = arguments.output
    if not output.endswith(".plan"):
        raise InvalidSettings(
            f"-o: expected a name ending in .plan, got {output!r}", field="output"
        )
    settings = CompileSettings(name=default_name(arguments.model), quantize=arguments.quantize)
    with progress_bar(f"compiling {settings.name}", _written_share(arguments.model, output)):
        path = compile_model(arguments.model, output, settings)
    made = {"plan": os.fspath(path), "bytes": os.path.getsize(path)}
    _show(arguments, made, f"{made['plan']}: {made['bytes']} bytes")
    return _DONE


def _written_share(model: str, output: str) -> Callable[[], float]:
    """The share of the plan that is on disk: its weights are about as large as the source's, and it
    is written beside its final name first."""
    folder, name = os.path.split(os.path.abspath(output))
    try:
        expected = os.path.getsize(os.path.join(model, "model.safetensors"))
    except OSError:
        expected = 0

    def share() -> float:
        try:
            sizes = [
                entry.stat().st_size
                for entry in os.scandir(folder)
                if entry.name.startswith(name + ".") and entry.name.endswith(".tmp")
            ]
        except OSError:
            return 0.0
        return max(sizes, default=0) / expected if expected else 0.0

    return share


def _add_inspect(commands: Any) -> None:
    parser = _command(commands, "inspect", "show what a model takes, gives and runs", _inspect)
    parser.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    parser.add_argument("--verify", action="store_true", help="check every weight's checksum")
    parser.add_argument("--engine", dest="key_engine", metavar=_ENGINES, help=KEYS["engine"].about)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _inspect(arguments: argparse.Namespace) -> int:
    from pelton.model import describe_model

    facts = describe_model(arguments.model, _settings(arguments), verify=arguments.verify)
    lines = _onnx_lines(facts) if facts["kind"] == "onnx" else _inspect_lines(facts)
    _show(arguments, facts, "\n".join(lines))
    return _DONE


def _onnx_lines(facts: Mapping[str, Any]) -> list[str]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())
    lines = [f"{facts['name']}: ONNX model of {facts['file_bytes']} bytes, opset {opsets}"]
    for kind in ("inputs", "outputs"):
        lines += [f"  {kind[:-1]} {t['name']}: {t['datatype']} {t['shape']}" for t in facts[kind]]
    batching = facts["batching"]
    if batching["batched"]:
        axes = {**batching["input_axes"], **batching["output_axes"]}
        on = ", ".join(
            f"{name} on axis {axis}" if axis is not None else f"{name} shared"
            for name, axis in axes.items()
        )
        lines.append(f"  batched: {on}; {batching['reason']}")
    else:
        op = f" ({batching['blocking_op']})" if "blocking_op" in batching else ""
        lines.append(f"  not batched: {batching['reason']}{op}")
    lines.append(f"  engine: {facts['engine']}; {facts['engine_reason']}")
    lines.append("  ops:")
    lines += [f"    {count:4d} {op}: {facts['engines'][op]}" for op, count in facts["ops"].items()]
    return lines


def _inspect_lines(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"{facts['name']}: {facts['batching']} plan of {facts['file_bytes']} bytes"]
    for kind in ("inputs", "alternative_inputs", "outputs"):
        lines += [
            f"  {kind[:-1].replace('_', ' ')} {t['name']}: {t['datatype']} {t['shape']}"
            for t in facts[kind]
        ]
    lines.append(f"  weights: {facts['weight_bytes']} bytes, quantization {facts['quantization']}")
    error = facts["error"]
    lines.append(f"  error: {error.get('value')} (basis: {error.get('basis')})")
    lines += [f"  {name}: {value}" for name, value in facts["limits"].items()]
    lines.append("  ops (all run natively):")
    lines += [f"    {count:4d} {op}" for op, count in facts["ops"].items()]
    return lines


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", "run a model once", _run)
    parser.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    parser.add_argument("--text", action="append", default=[], help="a text; may be repeated")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a tensor: a .npy file, or JSON such as x='[[1, 2]]'; may be repeated",
    )
    parser.add_argument("-o", "--output", metavar="OUT.npz|-", help="where the outputs go")
    parser.add_argument("--truncate", action="store_true", help="cut texts over the limit")
    parser.add_argument("--engine", dest="key_engine", metavar=_ENGINES, help=KEYS["engine"].about)
    parser.add_argument("--threads", dest="key_threads", metavar="INT", help=KEYS["threads"].about)
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON")


def _run(arguments: argparse.Namespace) -> int:
    if bool(arguments.text) == bool(arguments.input):
        raise InvalidSettings("expected either --text or --input, at least once", field="input")
    if arguments.json and arguments.output == "-":
        raise InvalidSettings("--json and -o - both want stdout", field="output")
    inputs: dict[str, Any] = {"text": arguments.text} if arguments.text else {}
    for given in arguments.input:
        name, value = _read_input(given)
        inputs[name] = value
    from pelton.model import load

    with load(arguments.model, truncate=arguments.truncate, settings=_settings(arguments)) as model:
        outputs = model.run(inputs)
    _write_outputs(arguments, outputs)
    return _DONE


def _read_input(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise InvalidSettings(f"--input: expected NAME=VALUE, got {given!r}", field="input")
    if value.lstrip()[:1] in ("[", "{") or not value.endswith(".npy"):
        try:
            return name, json.loads(value)
        except ValueError as error:
            raise InvalidInput(
                f"--input {name}: expected a .npy file or JSON: {error}", tensor=name
            ) from None
    import numpy as np

    try:
        return name, np.load(value, allow_pickle=False)
    except ValueError as error:
        raise InvalidInput(f"--input {name}: {value}: {error}", tensor=name) from None


def _write_outputs(arguments: argparse.Namespace, outputs: Mapping[str, Any]) -> None:
    import numpy as np

    # Strings as NumPy's own: an array of objects would be pickled.
    outputs = {n: a.astype(str) if a.dtype.kind == "O" else a for n, a in outputs.items()}
    if arguments.output == "-":
        np.savez(sys.stdout.buffer, **outputs)
        return
    if arguments.output is not None:
        with open(arguments.output, "wb") as file:  # savez would add a suffix to a bare name
            np.savez(file, **outputs)
    document = {
        name: {"shape": list(array.shape), "dtype": str(array.dtype), "data": array.tolist()}
        for name, array in outputs.items()
    }
    lines = [f"{name}: {array.dtype} {list(array.shape)}" for name, array in outputs.items()]
    if arguments.output is None:
        lines = [
            line + "\n" + "\n".join("  " + _preview(row) for row in np.atleast_1d(array))
            for line, array in zip(lines, outputs.values(), strict=True)
        ]
    _show(arguments, document, "\n".join(lines))


def _preview(row: Any) -> str:
    import numpy as np

    flat = np.reshape(row, -1)
    values = " ".join(
        f"{value:.6g}" if isinstance(value, float) else str(value)
        for value in flat[:_PREVIEW_VALUES].tolist()
    )
    return values + (" …" if flat.size > _PREVIEW_VALUES else "")


def _add_bench(commands: Any) -> None:
    parser = _command(commands, "bench", "time a model here, as ratios", _bench)
    parser.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    parser.add_argument("--against", choices=("onnxruntime",), help="another engine, in turns")
    parser.add_argument(
        "--onnx",
        metavar="FILE.onnx",
        help="the same model for --against (default: model.onnx or onnx/model.onnx in the folder)",
    )
    parser.add_argument(
        "--batch", type=_sizes, default=(1, 8, 32), metavar="N,…", help="rows (default: 1,8,32)"
    )
    parser.add_argument(
        "--seq",
        type=_sizes,
        default=(16, 64, 256),
        metavar="N,…",
        help="tokens of a row, for text encoders (default: 16,64,256)",
    )
    parser.add_argument("--threads", dest="key_threads", metavar="INT", help=KEYS["threads"].about)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(word) if word.isascii() and word.isdigit() else 0 for word in text.split(","))
    if not all(1 <= size <= _BENCH_SIZE_MAX for size in sizes):
        raise argparse.ArgumentTypeError(
            f"expected numbers from 1 to {_BENCH_SIZE_MAX} with commas between, got {text!r}"
        )
    return sizes


def _bench(arguments: argparse.Namespace) -> int:
    from pelton._bench import BenchOptions, OnnxPeer, lines, run_bench, to_json
    from pelton._progress import progress_bar
    from pelton.bridge import kernel_variants
    from pelton.model import load

    settings = _settings(arguments)
    peer = None
    if arguments.against is not None:
        peer = OnnxPeer(_onnx_beside(arguments.model, arguments.onnx), settings.threads)
    elif arguments.onnx is not None:
        raise InvalidSettings("--onnx: expected with --against only", field="onnx")
    options = BenchOptions(batches=arguments.batch, seqs=arguments.seq)
    done = [0.0]
    with (
        load(arguments.model, settings=settings) as model,
        progress_bar(f"timing {model.name}", lambda: done[0]),
    ):
        results = run_bench(model, options, peer, lambda share: done.__setitem__(0, share))
    isa = kernel_variants()["f32_gemm"].rpartition("__")[2]
    document = {"model": arguments.model, "threads": settings.threads, "isa": isa}
    title = f"{model.name}, {settings.threads} threads, {isa}"
    _show(
        arguments,
        {**document, "cases": to_json(results)},
        "\n".join([title, *lines(results)]),
    )
    return _DONE


def _onnx_beside(model: str, given: str | None) -> str:
    """The ONNX file of a model: the one given, itself, or an export in its folder."""
    inside = [
        os.path.join(model, name) for name in ("model.onnx", os.path.join("onnx", "model.onnx"))
    ]
    found = [given] if given is not None else [model] if model.endswith(".onnx") else inside
    for path in found:
        if os.path.isfile(path):
            return path
    raise InvalidSettings(
        "--against onnxruntime needs the model as ONNX, too: there is no "
        f"{' and no '.join(found)}; give --onnx FILE.onnx",
        field="onnx",
    )


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", "the repository of a running server", _models)
    parser.add_argument("action", choices=("list", "load", "unload"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of load and unload")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the server")
    parser.add_argument("--json", action="store_true", help="print the index as JSON")


def _models(arguments: argparse.Namespace) -> int:
    from pelton.client import Client

    name: str | None = arguments.name
    if (arguments.action == "list") is not (name is None):
        raise InvalidSettings(
            "expected NAME with load and unload, and none with list", field="name"
        )
    with Client(arguments.url, timeout=_LOAD_S_MAX) as client:
        if name is not None:
            (client.load if arguments.action == "load" else client.unload)(name)
        entries = [entry for entry in client.index() if name in (None, entry.name)]
    lines = [
        "  ".join(part for part in (e.name, e.version, e.state or "not loaded", e.reason) if part)
        for e in entries
    ]
    _show(arguments, [dataclasses.asdict(entry) for entry in entries], "\n".join(lines))
    return _DONE


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", "show what this machine offers to the engine", _doctor)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _doctor(arguments: argparse.Namespace) -> int:
    from pelton._doctor import facts, lines
    from pelton.bridge import cpu_features, kernel_variants

    found = facts() | {"cpu_features": cpu_features(), "kernel_variants": kernel_variants()}
    _show(arguments, found, "\n".join(lines(found)))
    return _DONE


def _show(arguments: argparse.Namespace, document: Any, text: str) -> None:
    """The one thing on stdout: JSON where it was asked for, else text."""
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False))
    elif text:
        print(text)
    sys.stdout.flush()

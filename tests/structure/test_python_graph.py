"""The Python modules import each other along the arrows of the architecture only."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from structure.sources import ROOT, closure, files, find_cycle

PACKAGE = ROOT / "pyserver" / "pelton"
# Which part of the package may import which directly; what those may import follows.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "metrics": {"settings"},
    "codec": {"errors"},
    "client": {"codec"},
    "text": {"errors", "settings"},
    "bridge": {"metrics"},
    "compiler": {"bridge"},
    "backends": {"text", "compiler", "bridge"},
    "model_settings": {"settings"},
    "repository": {"model_settings", "backends"},
    "model": {"repository"},
    "http": {"codec", "model"},
    "app": {"http"},
    "workers": {"app"},
    "cli": {"workers", "client"},
}
# `import pelton` is for programs that never serve: these load when used.
NOT_AT_IMPORT = ("starlette", "uvicorn", "uvloop", "onnx", "onnxruntime", "torch", "tokenizers")
HEAVY = {"torch", "ray", "cupy"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The absolute names that the import statements among the nodes bind or look into."""
    module = module_name(path).split(".")
    package = module if path.name == "__init__.py" else module[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{source}.{alias.name}"


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run when the module is imported: no function bodies, no type checking."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))


TREES = {path: ast.parse(path.read_text(), path.name) for path in files("pyserver", ".py")}


def part_of(name: str) -> str:
    """`pelton.codec.types` is of the part `codec`; the package itself is the part ``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_there_are_modules() -> None:
    assert len(TREES) > 5


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "pyserver" / "__init__.py").exists()


def test_every_part_has_its_place() -> None:
    parts = {part_of(module_name(path)) for path in TREES}
    public = {part for part in parts if part and not part.startswith("_")}
    assert public <= set(ARROWS), f"parts without a place in the graph: {public - set(ARROWS)}"


def test_parts_import_along_the_arrows() -> None:
    allowed = closure(ARROWS)
    wrong = []
    for path, tree in TREES.items():
        part = part_of(module_name(path))
        for name in imports(path, ast.walk(tree)):
            target = part_of(name)
            if not name.startswith("pelton.") or target not in ARROWS or target == part:
                continue
            # The package and its __main__ reach everything, private helpers the errors alone.
            below = {"": set(ARROWS), "__main__": {"cli"}}.get(part, allowed.get(part, {"errors"}))
            if target not in below:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_only_the_bridge_imports_the_native_module() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path, tree in TREES.items()
        if any(name.startswith("pelton._native") for name in imports(path, ast.walk(tree)))
        and part_of(module_name(path)) != "bridge"
    ]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    names = {module_name(path) for path in TREES}
    graph: dict[str, list[str]] = {}
    for path, tree in TREES.items():
        bound = imports(path, at_import(tree))
        # `from a import b` imports the module a.b, or the module a for its name b.
        targets = {name if name in names else name.rpartition(".")[0] for name in bound}
        graph[module_name(path)] = sorted((targets & names) - {module_name(path)})
    assert find_cycle(graph) == []


def test_nothing_heavy_is_imported_anywhere() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, tree in TREES.items()
        for name in imports(path, ast.walk(tree))
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_importing_pelton_loads_no_web_stack() -> None:
    code = "import pelton, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(NOT_AT_IMPORT)


def public_modules() -> list[Path]:
    return [
        path
        for path in TREES
        if not any(part.startswith("_") for part in module_name(path).split("."))
        and path.name != "__main__.py"
    ]


def defined_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names that a module binds at its top level, and its own functions and classes."""
    bound: set[str] = set()
    own: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        else:
            for child in ast.walk(node):
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    bound.add(child.id)
                elif isinstance(child, ast.Import | ast.ImportFrom):
                    bound |= {alias.asname or alias.name.split(".")[0] for alias in child.names}
    return bound | own, own


@pytest.mark.parametrize("path", public_modules(), ids=module_name)
def test_all_names_what_is_public(path: Path) -> None:
    tree = TREES[path]
    listed = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value is not None
            and "__all__" in ast.unparse(node).split("=")[0]
        ),
        None,
    )
    bound, own = defined_names(tree)
    if not bound - {"annotations"}:
        return  # a package of modules, with nothing of its own
    assert listed is not None, "a public module names its surface in __all__"
    assert len(set(listed)) == len(listed)
    if not any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body):
        assert set(listed) <= bound, "names in __all__ that the module does not define"
    public = {name for name in own if not name.startswith("_")}
    assert public <= set(listed), "public definitions that are not in __all__"


def test_the_package_exports_what_it_lists() -> None:
    pelton = importlib.import_module("pelton")
    missing = [name for name in pelton.__all__ if not hasattr(pelton, name)]
    assert missing == []

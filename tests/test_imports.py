"""Which way imports point (docs/architecture.md), and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A part may import parts of its own or an earlier layer. A new part needs a layer here and in docs/architecture.md.
LAYERS = (
    ("records", "errors", "settings"),
    (
        "media",
        "chat",
        "prompts",
        "models",
        "encoders",
        "captioners",
        "screen_text",
        "kernels",
        "redundancy",
        "stories",
        "store",
        "demo",
        "languages",
    ),
    ("retrieval", "pipeline", "hosting"),
    ("batch", "api", "doctor", "serving"),
    ("cli",),
)
LAYER_OF = {part: layer for layer, parts in enumerate(LAYERS) for part in parts}

HEAVY = frozenset(
    {"torch", "torchvision", "transformers", "sentence_transformers", "open_clip", "timm", "onnx"}
    | {"faiss", "cv2", "decord", "vllm", "ray", "rapidocr", "py3langid", "httpx", "huggingface_hub"}
)


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands, what it names, and whether importing the file runs it."""

    path: Path
    line: int
    module: str
    at_import: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(path: Path) -> Iterator[Import]:
    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, at_import)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: name the module in full"
            for alias in node.names:
                yield Import(path, node.lineno, f"{node.module}.{alias.name}", at_import)
        elif isinstance(node, ast.stmt) and is_type_checking(node):
            return
        else:
            inside = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "fdvs").with_suffix("").parts[0]


MODULES = sorted((ROOT / "fdvs").rglob("*.py"))
IMPORTS = [found for path in MODULES for found in imports_of(path)]


def test_every_part_has_a_layer() -> None:
    assert {part_of(path) for path in MODULES} - {"__init__", "__main__"} <= LAYER_OF.keys()


def test_imports_point_one_way() -> None:
    wrong = []
    for found in IMPORTS:
        package, _, rest = found.module.partition(".")
        here, there = part_of(found.path), rest.partition(".")[0]
        if package != "fdvs" or here in {"__init__", "__main__"} or there == "__version__":
            continue
        if LAYER_OF.get(there, LAYER_OF["api"]) > LAYER_OF[here]:  # names of fdvs itself come from the API
            wrong.append(str(found))
    assert not wrong


def test_records_errors_and_settings_know_only_each_other() -> None:
    base = set(LAYERS[0])
    outside = [
        str(found)
        for found in IMPORTS
        if part_of(found.path) in base and found.module.startswith("fdvs.") and found.module.split(".")[1] not in base
    ]
    assert not outside


# The mathematics of attention is about tensors from its first line; so nobody may load it before it is used.
NEEDS_TORCH = ROOT / "fdvs" / "kernels"
KNOWN_TO_KERNELS = frozenset({"torch", "triton"})
WITHOUT_TORCH = frozenset({"fdvs.kernels.names"})


def test_heavy_modules_are_imported_only_where_they_are_used() -> None:
    early = [
        str(found)
        for found in IMPORTS
        if found.at_import
        and found.module.partition(".")[0] in HEAVY
        and not (NEEDS_TORCH in found.path.parents and found.module.partition(".")[0] in KNOWN_TO_KERNELS)
    ]
    assert not early


def test_kernels_are_imported_only_where_they_are_used() -> None:
    early = [
        str(found)
        for found in IMPORTS
        if found.at_import
        and found.module.startswith("fdvs.kernels")
        and not found.module.startswith(tuple(WITHOUT_TORCH))
        and NEEDS_TORCH not in found.path.parents
    ]
    assert not early


def test_the_mathematics_of_attention_knows_torch_triton_and_our_errors_only() -> None:
    hosts = {"plugs", "training", "bench"}  # these import transformers, accelerate or vLLM where they use them
    outside = [
        str(found)
        for found in IMPORTS
        if NEEDS_TORCH in found.path.parents
        and not hosts & set(found.path.relative_to(NEEDS_TORCH).parts)
        and not found.module.startswith(("fdvs.kernels", "fdvs.errors"))
        and found.module.partition(".")[0] not in KNOWN_TO_KERNELS | set(sys.stdlib_module_names)
    ]
    assert not outside


def test_the_rules_are_applied_to_something() -> None:
    assert len(MODULES) > 30
    assert any(found.module.startswith("fdvs.cli") for found in IMPORTS)


def loaded_after(arguments: list[str], cwd: Path) -> set[str]:
    """Top-level modules in memory after one `fdvs` command."""
    code = (
        "import json, sys\n"
        "from fdvs.cli.main import app\n"
        "try:\n"
        "    app(json.loads(sys.argv[1]))\n"
        "except SystemExit as end:\n"
        "    code = end.code or 0\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    exit_code, names = json.loads(result.stderr.splitlines()[-1])
    assert exit_code == 0, result.stderr
    return set(names)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    loaded = loaded_after(arguments, tmp_path)
    assert not loaded & (HEAVY | {"numpy", "av", "onnxruntime", "tokenizers", "PIL"})


def test_search_imports_no_torch_and_no_opencv(tmp_path: Path) -> None:
    (tmp_path / "walk.srt").write_text(
        "1\n00:00:00,000 --> 00:00:04,000\nA dog runs along the beach.\n\n"
        "2\n00:00:04,000 --> 00:00:09,000\nTwo children build a castle of sand.\n"
    )
    loaded_after(["import", "walk.srt"], tmp_path)
    loaded = loaded_after(["search", "a dog by the sea"], tmp_path)
    assert not loaded & (HEAVY - {"faiss"})

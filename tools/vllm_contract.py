"""The part of vLLM's interface that our attention plugs into, read from its sources without importing them.

    python tools/vllm_contract.py 0.33.0            # downloads the source release with pip
    python tools/vllm_contract.py vllm-0.33.0.tar.gz
    python tools/vllm_contract.py --installed       # of the Python that runs this

writes tests/kernels/plugs/contracts/0.33.json. A test compares the installed vLLM with its file, and another one holds
every file against `NEEDS`, which is what the adapters of `fdvs/kernels/plugs/vllm` rely on. So a new release is looked
at by one command before anybody runs it, also where no GPU is.

pip asks a source release for its name before it keeps it, and for that vLLM's setup needs torch, setuptools_scm and
setuptools_rust in the Python that runs pip; nothing is built.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parents[1] / "tests" / "kernels" / "plugs" / "contracts"

LOOKED_AT: Mapping[str, tuple[str, ...]] = {
    "v1/attention/backends/registry.py": ("AttentionBackendEnum", "register_backend"),
    "v1/attention/backend.py": (
        "AttentionBackend", "AttentionImplBase", "AttentionImpl", "AttentionMetadataBuilder", "AttentionCGSupport",
        "CommonAttentionMetadata",
    ),
    "v1/attention/selector.py": ("_cached_get_attn_backend",),
    "v1/attention/backends/cpu_attn.py": (
        "CPUAttentionBackend", "CPUAttentionBackendImpl", "CPUAttentionMetadataBuilder", "CPUAttentionMetadata",
    ),
    "v1/attention/backends/triton_attn.py": (
        "TritonAttentionBackend", "TritonAttentionImpl", "TritonAttentionMetadataBuilder", "TritonAttentionMetadata",
    ),
    "config/scheduler.py": ("SchedulerConfig",),
    "config/cache.py": ("CacheConfig",),
    "config/parallel.py": ("ParallelConfig",),
    "plugins/__init__.py": ("load_general_plugins",),
}  # fmt: skip
"""Files of vLLM's package, and what of each is written down."""

_FORWARD = (
    "self", "layer", "query", "key", "value", "kv_cache", "attn_metadata", "output", "output_scale=None",
    "output_block_scale=None",
)  # fmt: skip
_LAYER = (
    "alibi_slopes", "sliding_window", "logits_soft_cap", "sinks", "attn_type", "kv_sharing_target_layer_name",
    "kv_cache_dtype", "scale",
)  # fmt: skip
NEEDS: Mapping[str, tuple[str, ...]] = {
    "AttentionBackendEnum.members": ("CPU_ATTN", "CUSTOM"),
    "AttentionBackendEnum.methods": ("get_path", "clear_override"),
    "register_backend()": ("backend", "class_path=None", "is_mamba=False"),
    "_cached_get_attn_backend.decorators": ("cache",),
    "AttentionBackend.methods": (
        "get_name", "get_impl_cls", "get_builder_cls", "supports_mm_prefix", "supports_kv_connector",
    ),
    "AttentionBackend.members": ("supported_kv_cache_dtypes", "forward_includes_kv_cache_update"),
    "AttentionImplBase.members": ("supports_quant_query_input",),
    "AttentionImpl.forward()": _FORWARD,
    "AttentionImpl.fused_output_quant_supported()": ("self", "quant_key"),
    "AttentionMetadataBuilder.build()": ("self", "common_prefix_len", "common_attn_metadata", "fast_build=False"),
    "AttentionMetadataBuilder.__init__()": ("self", "kv_cache_spec", "layer_names", "vllm_config", "device"),
    "AttentionMetadataBuilder.get_cudagraph_support()": ("cls", "vllm_config", "kv_cache_spec"),
    "AttentionCGSupport.members": ("NEVER", "UNIFORM_SINGLE_TOKEN_DECODE"),
    "CommonAttentionMetadata.members": (
        "query_start_loc", "query_start_loc_cpu", "seq_lens", "num_reqs", "num_actual_tokens", "max_query_len",
        "max_seq_len", "block_table_tensor", "slot_mapping", "causal", "is_prefilling", "seq_lens_cpu_upper_bound",
    ),
    # Keys and values are in the cache before `forward` begins: what we attend to is never written by it.
    "CPUAttentionBackend.values": ("forward_includes_kv_cache_update=False",),
    "TritonAttentionBackend.values": ("forward_includes_kv_cache_update=False",),
    "CPUAttentionBackendImpl.forward()": _FORWARD,
    "CPUAttentionBackendImpl.attributes": _LAYER,
    "CPUAttentionMetadataBuilder.build()": ("self", "common_prefix_len", "common_attn_metadata", "fast_build=False"),
    "TritonAttentionImpl.forward()": _FORWARD,
    "TritonAttentionImpl.attributes": _LAYER,
    "TritonAttentionMetadataBuilder.build()": ("self", "common_prefix_len", "common_attn_metadata", "fast_build=False"),
    "SchedulerConfig.members": ("enable_chunked_prefill", "max_num_batched_tokens", "max_num_seqs"),
    "CacheConfig.members": ("enable_prefix_caching",),
    "ParallelConfig.members": (
        "tensor_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size",
    ),
    "load_general_plugins()": (),
}  # fmt: skip
"""What the adapters use: `Class.members` and the like have to hold these, `function()` has to take exactly these."""


def contract_of(package: Path) -> dict[str, Any]:
    """What `LOOKED_AT` names, by name: parameters of functions, members, methods and attributes of classes.

    Args:
        package: the folder `vllm`.

    Raises:
        FileNotFoundError, KeyError: vLLM no longer has it there.
    """
    found: dict[str, Any] = {}
    for file, names in LOOKED_AT.items():
        body = ast.parse((package / file).read_text(encoding="utf-8")).body
        there = {one.name: one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef)}
        for name in names:
            node = there[name]
            found[name] = _class(node) if isinstance(node, ast.ClassDef) else _function(node)
            if file.startswith("config/"):  # of vLLM's settings, the ones that we look at
                used = NEEDS[f"{name}.members"]
                found[name] = {"members": [member for member in found[name]["members"] if member in used]}
    return found


def broken_needs(contract: Mapping[str, Any]) -> list[str]:
    """What the adapters rely on and this interface does not have, one line each."""
    return [
        f"{name}: wanted {', '.join(wanted)}; got {', '.join(got)}"
        for name, wanted in NEEDS.items()
        if not _suits(name, wanted, got := _looked_up(contract, name))
    ] + [
        f"CommonAttentionMetadata asks for {name}, which is not handed on"
        for name in contract["CommonAttentionMetadata"]["required"]
        if name not in NEEDS["CommonAttentionMetadata.members"]
    ]


def _suits(name: str, wanted: tuple[str, ...], got: list[str]) -> bool:
    return got == list(wanted) if name.endswith("()") else set(wanted) <= set(got)


def _looked_up(contract: Mapping[str, Any], name: str) -> list[str]:
    """`A.members` and `A.f()` of a contract; empty where there is none."""
    path, is_function = name.removesuffix("()"), name.endswith("()")
    owner, _, part = path.partition(".")
    there = contract.get(owner, {})
    if is_function:
        words = there.get("methods", {}).get(part, "") if part else there.get("parameters", "")
        return words.split(", ") if words else []
    return list(there.get(part, []))


def _class(node: ast.ClassDef) -> dict[str, Any]:
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    is_enum = any(ast.unparse(base).endswith("Enum") for base in node.bases)
    named: list[ast.AnnAssign | ast.Assign] = [*fields, *(one for one in node.body if isinstance(one, ast.Assign))]
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    return {
        "bases": [ast.unparse(base) for base in node.bases],
        "members": sorted(map(_named, named)),
        "values": [] if is_enum else sorted(text for one in named for text in _value(one)),
        "required": sorted(_named(one) for one in fields if one.value is None),
        "methods": {one.name: _parameters(one) for one in sorted(methods, key=lambda one: one.name)},
        "attributes": sorted({name for one in methods if one.name == "__init__" for name in _set_on_self(one)}),
    }


def _named(field: ast.AnnAssign | ast.Assign) -> str:
    return ast.unparse(field.target if isinstance(field, ast.AnnAssign) else field.targets[0])


def _value(field: ast.AnnAssign | ast.Assign) -> list[str]:
    """`name=value` where the value is written out as such."""
    return [f"{_named(field)}={field.value.value!r}"] if isinstance(field.value, ast.Constant) else []


def _set_on_self(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield target.attr


def _function(node: ast.FunctionDef) -> dict[str, Any]:
    return {"parameters": _parameters(node), "decorators": [ast.unparse(one) for one in node.decorator_list]}


def _parameters(node: ast.FunctionDef) -> str:
    """`self, layer, output_scale=None`."""
    of = node.args
    defaults = [None] * (len(of.args) - len(of.defaults)) + list(of.defaults)
    given = list(zip(of.args, defaults, strict=True)) + list(zip(of.kwonlyargs, of.kw_defaults, strict=True))
    parameters = [one.arg if value is None else f"{one.arg}={ast.unparse(value)}" for one, value in given]
    parameters += [f"*{of.vararg.arg}"] if of.vararg else []
    parameters += [f"**{of.kwarg.arg}"] if of.kwarg else []
    return ", ".join(parameters)


def written(version: str, contract: Mapping[str, Any]) -> str:
    """The contract as its file holds it: one line for each name."""
    lines = [f" {json.dumps(name)}: {json.dumps(contract[name], sort_keys=True)}" for name in sorted(contract)]
    return f'{{"vllm": {json.dumps(version)}, "contract": {{\n' + ",\n".join(lines) + "\n}}\n"


def file_of(version: str) -> Path:
    major, minor = version.split(".")[:2]
    return CONTRACTS / f"{major}.{minor}.json"


def installed_package() -> Path:
    """The folder of the vLLM that this Python would import."""
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("vLLM is not installed in this Python")
    return Path(next(iter(found.submodule_search_locations)))


def installed_version(package: Path) -> str:
    text = (package / "_version.py").read_text(encoding="utf-8")
    match = re.search(r"^(?:__version__ = )?version = '([0-9.]+)", text, re.MULTILINE) or re.search(
        r"'(\d+\.\d+\.\d+)", text
    )
    if match is None:
        raise SystemExit(f"{package} does not say which version it is")
    return match[1]


def unpacked(release: Path, folder: Path) -> Path:
    """The folder `vllm` of a source release, of which only Python files are unpacked."""
    wanted = set(LOOKED_AT)
    with tarfile.open(release) as archive:
        for member in archive:
            top, _, inside = member.name.partition("/vllm/")
            if inside in wanted and "/" not in top:
                archive.extract(member, folder, filter="data")
    return next(folder.glob("*/vllm"))


def downloaded(version: str, folder: Path) -> Path:
    """The source release of this version, by pip."""
    environment = os.environ | {"VLLM_TARGET_DEVICE": "empty", "VLLM_VERSION_OVERRIDE": version}
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "vllm"]
    command += ["--no-build-isolation", "--dest", str(folder), f"vllm=={version}"]
    subprocess.run(command, env=environment, check=True)
    return next(folder.glob("vllm-*.tar.gz"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", nargs="?", help="a version, or the file of a source release")
    parser.add_argument("--installed", action="store_true", help="the vLLM of the Python that runs this")
    parser.add_argument("--look", action="store_true", help="write nothing, only say what does not suit")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.installed:
            package = installed_package()
            version = installed_version(package)
        elif asked.release:
            is_file = asked.release.endswith(".tar.gz")
            release = Path(asked.release) if is_file else downloaded(asked.release, Path(folder))
            version = release.name.removeprefix("vllm-").removesuffix(".tar.gz")
            package = unpacked(release, Path(folder))
        else:
            parser.error("name a version or a file, or --installed")
        contract = contract_of(package)
    if not asked.look:
        CONTRACTS.mkdir(exist_ok=True)
        file_of(version).write_text(written(version, contract), encoding="utf-8")
    for line in (broken := broken_needs(contract)):
        print(f"vLLM {version}: {line}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

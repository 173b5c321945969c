"""Every Triton kernel becomes machine code for sm_80 and sm_90a here, without a GPU, within shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

SHARED_BYTES = {"sm_80": 163 * 1024, "sm_90a": 227 * 1024}
KERNELS = {
    "prefill_kernel",
    "merge_kernel",
    "decode_kernel",
    "pool_kernel",
    "column_lse_kernel",
    "column_sum_kernel",
    "top_k_kernel",
    "compact_kernel",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("compiled")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    script = Path(__file__).with_name("compile_all.py")
    result = subprocess.run(
        [sys.executable, str(script), str(folder / "out.json")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return found


def test_every_kernel_compiles_for_both_gpus(compiled: list[dict[str, Any]]) -> None:
    assert {(one["kernel"], one["architecture"]) for one in compiled} == {
        (kernel, architecture) for kernel in KERNELS for architecture in SHARED_BYTES
    }
    assert all(one["cubin_bytes"] > 1000 for one in compiled)


def test_shared_memory_suffices(compiled: list[dict[str, Any]]) -> None:
    for one in compiled:
        assert one["shared_bytes"] <= SHARED_BYTES[one["architecture"]], one


def test_prefill_uses_the_matrix_units_of_hopper(compiled: list[dict[str, Any]]) -> None:
    on_hopper = [one for one in compiled if one["kernel"] == "prefill_kernel" and one["architecture"] == "sm_90a"]
    assert {one["type"] for one in on_hopper} == {"*bf16", "*fp16"}
    assert all(one["has_wgmma"] for one in on_hopper)

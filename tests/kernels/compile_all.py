"""Compiles every Triton kernel as its launcher would launch it, for two GPUs, on a machine without one.

Run in a process of its own, with TRITON_INTERPRET unset: `python compile_all.py OUT.json`. The launchers run on CPU
tensors; what they would launch is taken down in place of being launched.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from fdvs.kernels.samples import Shape, random_qkv, sample
from fdvs.kernels.triton import columns, compact, decode, pool, prefill, top_k

ARCHITECTURES = (80, 90)
TYPES = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.int8: "*i8",
}


@dataclass(frozen=True)
class Launch:
    """What a launcher asked for: a kernel, its arguments and how to compile it."""

    kernel: Any
    args: tuple[Any, ...]
    keywords: dict[str, Any]

    def source(self) -> tuple[Any, dict[str, Any]]:
        """The kernel with its arguments described as a launch describes them: types, ones, multiples of 16."""
        names = self.kernel.arg_names
        values = dict(zip(names, self.args, strict=False)) | {n: x for n, x in self.keywords.items() if n in names}
        signature: dict[str, str] = {}
        constants: dict[Any, Any] = {}
        attributes: dict[Any, Any] = {}
        for parameter in self.kernel.params:
            value, at = values[parameter.name], (parameter.num,)
            if isinstance(value, torch.Tensor):
                signature[parameter.name] = TYPES[value.dtype]
                attributes[at] = [["tt.divisibility", 16]]
            elif parameter.is_constexpr or value is None or value == 1:
                signature[parameter.name] = "constexpr"
                constants[at] = value
            elif isinstance(value, float):
                signature[parameter.name] = "fp32"
            else:
                signature[parameter.name] = "i32"
                if value % 16 == 0:
                    attributes[at] = [["tt.divisibility", 16]]
        options = {name: value for name, value in self.keywords.items() if name not in names}
        return ASTSource(fn=self.kernel, signature=signature, constexprs=constants, attrs=attributes), options


def launches() -> list[Launch]:
    """Each kernel in bfloat16 with heads of 128, prefill with all its segments; prefill of smaller heads in fp16."""
    found: list[Launch] = []

    def take_down(self: Any, *args: Any, grid: Any, warmup: bool, **keywords: Any) -> None:
        found.append(Launch(self, args, keywords))

    JITFunction.run = take_down
    wide = Shape(1, 28, 4, 256, 512, 128)
    call = sample("remainder", wide, block_q=128, block_k=64).to(dtype=torch.bfloat16)
    both = sample("both", wide).to(dtype=torch.bfloat16).plan
    assert both.pooled is not None
    assert both.selected is not None
    everything = call.plan.__class__(
        call.plan.q_positions, call.plan.band_start, call.plan.pooled, both.selected, call.plan.tiles, is_remainder=True
    )
    prefill.attend(call.q, call.k, call.v, everything, scale=0.1)
    small = sample("permuted", Shape(1, 2, 1, 256, 256, 80), block_q=128, block_k=64).to(dtype=torch.float16)
    tiles_alone = call.plan.__class__(small.plan.q_positions, small.plan.band_start, tiles=small.plan.tiles)
    prefill.attend(small.q, small.k, small.v, tiles_alone, scale=0.1)  # far, near, and their merging
    decode.decode(call.q[:, :, :1], [both.pooled], scale=0.1)
    q, k, v = (x.bfloat16() for x in random_qkv(wide))
    members = torch.arange(512).view(1, 1, 32, 16)
    rules = {"key_rule": "anchor", "value_rule": "weighted", "has_log_count": True}
    pool.pool(k, v, members, q[:, ::7, :32], scale=0.1, **rules)  # type: ignore[arg-type]
    scores = columns.column_scores(q[:, :, -16:], torch.arange(496, 512), k, scale=0.1, is_real=None)
    top_k.block_top_k(scores, torch.full((1, 4, 4), 16), 128)
    compact.compact(k, v, torch.arange(100).expand(1, 4, -1))
    return found


def compile_one(job: tuple[Launch, int]) -> dict[str, Any]:
    launch, architecture = job
    source, options = launch.source()
    done = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx = done.asm["ptx"]
    return {
        "kernel": launch.kernel.__name__,
        "type": next(TYPES[x.dtype] for x in launch.args if isinstance(x, torch.Tensor)),
        "architecture": next(line.split()[1] for line in ptx.splitlines() if line.startswith(".target")),
        "shared_bytes": done.metadata.shared,
        "cubin_bytes": len(done.asm["cubin"]),
        "has_wgmma": "wgmma" in ptx,
    }


if __name__ == "__main__":
    assert "TRITON_INTERPRET" not in os.environ
    jobs = [(launch, architecture) for launch in launches() for architecture in ARCHITECTURES]
    jobs.sort(key=lambda job: "prefill" not in job[0].kernel.__name__)  # the longest first
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        Path(sys.argv[1]).write_text(json.dumps(list(threads.map(compile_one, jobs))), encoding="utf-8")

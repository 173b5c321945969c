"""The entry point of group `vllm.general_plugins`: vLLM calls `register` once in each of its processes.

It does something only where `FDVS_ATTENTION` is in the environment. Then vLLM's attention for decoder layers is ours:
under the name `CUSTOM` on a GPU, where vLLM has to be told `--attention-backend CUSTOM`, and in the place of
`CPU_ATTN` on a CPU, where vLLM takes no other name.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from fdvs.errors import BackendUnavailableError
from fdvs.kernels.plugs.vllm.asked import VARIABLE, Asked, asked_here
from fdvs.kernels.plugs.vllm.proof import Report

ADAPTERS = {(0, minor): "v0_26" for minor in range(26, 34)}
"""Which module of this folder speaks the interface of a vLLM, by its first two numbers. Run with 0.32; held against the
sources of the others (`tools/vllm_contract.py`)."""


def register() -> None:
    """Put our attention in vLLM's register where it was asked for. A second call changes nothing.

    Raises:
        BackendUnavailableError: this release of vLLM has no adapter; the message names those that have one.
        InputError: what was asked for cannot be understood.
    """
    asked = asked_here()
    if asked is None:
        return
    import vllm

    path = f"{__package__}.{adapter_of(vllm.__version__)}"
    member, name = _place()
    registry: Any = sys.modules["vllm.v1.attention.backends.registry"]
    registry.register_backend(member, f"{path}.{name}")
    _forget_choices()
    if asked.report is not None:
        Report(asked.report).write({"stage": "registered", "vllm": vllm.__version__, "choice": asked.choice.words()})


def unregister() -> None:
    """The register as it was. Layers that were made in the meantime keep our attention."""
    if "vllm.v1.attention.backends.registry" in sys.modules:
        _place()[0].clear_override()
        _forget_choices()


@contextlib.contextmanager
def asking(asked: Asked | None) -> Iterator[None]:
    """Whatever vLLM is made in this block gets this attention: in this process, and in those it starts.

    None: vLLM's own, whatever the environment says.
    """
    before = os.environ.pop(VARIABLE, None)
    if asked is not None:
        os.environ[VARIABLE] = asked.to_json()
        register()  # vLLM itself calls it once in a process, which may have been for another model
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
        if asked is not None:
            unregister()


def adapter_of(version: str) -> str:
    """Name of the module for this vLLM.

    Raises:
        BackendUnavailableError: there is none.
    """
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
        return ADAPTERS[major, minor]
    except (ValueError, KeyError):
        first, last = (".".join(map(str, one)) for one in (min(ADAPTERS), max(ADAPTERS)))
        raise BackendUnavailableError(
            f"sparse attention of fdvs knows the interface of vLLM {first} to {last}, and this is vLLM {version}"
        ) from None


def _place() -> tuple[Any, str]:
    """The entry of vLLM's register that is ours on this device, and the class that goes there."""
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    if current_platform.is_cpu():
        return AttentionBackendEnum.CPU_ATTN, "CpuBackend"
    if current_platform.is_cuda():
        return AttentionBackendEnum.CUSTOM, "CudaBackend"
    raise BackendUnavailableError(
        f"sparse attention of fdvs runs in vLLM on NVIDIA GPUs and on CPUs, not on {current_platform.device_name}"
    )


def _forget_choices() -> None:
    """vLLM remembers which class it chose for which layer; another model in this process is to choose anew."""
    selector = sys.modules.get("vllm.v1.attention.selector")
    if selector is not None:
        selector._cached_get_attn_backend.cache_clear()

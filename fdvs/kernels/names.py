"""Names of methods and back ends, for command lines and settings: importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any

from fdvs.errors import BackendUnavailableError, UnknownBackendError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.methods.base import Method
    from fdvs.kernels.ops import Ops

METHODS = {
    "tca": "fdvs.kernels.methods.tca:Tca",
    "cca": "fdvs.kernels.methods.cca:Cca",
    "dga": "fdvs.kernels.methods.dga:Dga",
    "lca": "fdvs.kernels.methods.lca:Lca",
    "hybrid": "fdvs.kernels.methods.hybrid:Hybrid",
    "blocks": "fdvs.kernels.methods.blocks:TopBlocks",
    "flexprefill": "fdvs.kernels.methods.flexprefill:FlexPrefill",
    "xattention": "fdvs.kernels.methods.xattention:XAttention",
    "grid": "fdvs.kernels.methods.grid:Grid",
    "dense": "fdvs.kernels.methods.dense:Dense",
}
"""Every method by the name it is asked for with, and where it is. Each class takes its settings by keyword."""

BACKENDS = {
    "reference": "fdvs.kernels.ops:REFERENCE",
    "gather": "fdvs.kernels.gather:GATHER",
    "flex": "fdvs.kernels.flex:FLEX",
    "flex_eager": "fdvs.kernels.flex:FLEX_EAGER",
    "triton": "fdvs.kernels.triton.ops:TRITON",
    "rows": "fdvs.kernels.rows:ROWS",
}
"""Every back end by the name it is asked for with, and where its `Ops` are."""


def open_method(name: str, **settings: Any) -> Method:
    """The method of this name; `settings` in place of its defaults.

    Raises:
        UnknownBackendError: there is no such method; the message lists those there are.
        BackendUnavailableError: torch is not installed.
        InputError: a setting is unknown or out of range.
    """
    if name not in METHODS:
        raise UnknownBackendError("attention method", name, sorted(METHODS))
    require_torch()
    module, _, attribute = METHODS[name].partition(":")
    found = getattr(import_module(module), attribute)
    known = list(signature(found).parameters)
    if unknown := sorted(settings.keys() - set(known)):
        raise UsageError(f"{name} has no setting {unknown[0]}; known: {', '.join(known) or 'none'}")
    method: Method = found(**settings)
    return method


def require_torch() -> None:
    """Raises BackendUnavailableError where torch is not installed. It is not loaded."""
    if find_spec("torch") is None:
        raise BackendUnavailableError("sparse attention needs torch: pip install 'fdvs[models]'")


def open_ops(name: str) -> Ops:
    """The back end of this name. `fdvs.kernels.backends.choose` knows what `auto` means.

    Raises:
        UnknownBackendError: there is no such back end; the message lists those there are.
        BackendUnavailableError: it cannot run here; the message says what is missing.
    """
    if name not in BACKENDS:
        raise UnknownBackendError("attention back end", name, [*BACKENDS, "auto"])
    module, _, attribute = BACKENDS[name].partition(":")
    try:
        ops: Ops = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "triton"}:
            raise
        raise BackendUnavailableError(f"the back end {name} needs {error.name}: pip install {error.name}") from error
    return ops

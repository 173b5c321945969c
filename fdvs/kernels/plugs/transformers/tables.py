"""What transformers finds under our name in its tables of attention and of masks, and whom it belongs to."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Protocol

from torch import Tensor, nn

from fdvs.errors import InputError

NAME = "fdvs_plan"
"""It stays in the tables; models that do not name it never ask."""


class Server(Protocol):
    """Who serves the layers of one text model."""

    original: str

    @property
    def is_dense(self) -> bool:
        """Whether the pass that is running is left to the attention that the model had."""

    @property
    def makes_own_masks(self) -> bool:
        """Whether no layer that is left needs the mask of full attention as it was."""

    def attend(  # noqa: PLR0917 - as transformers calls it
        self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
    ) -> Tensor:
        """`[B, Hq, Tq, Dv]`: attention of one layer by plan."""

    def saw_dense(self, module: nn.Module, q: Tensor) -> None:
        """Counts a layer of a pass that is left alone."""


SERVERS: dict[int, Server] = {}
"""By the identity of the text configuration, which a server holds for as long as it is listed here."""


def server_of(config: Any) -> Server:
    """Who serves the text model of this configuration."""
    server = SERVERS.get(id(config))
    if server is None:
        raise InputError(f"the attention {NAME} is set, but no plug serves this model: call enable(model, …)")
    return server


@cache
def register() -> None:
    """Puts our name into the tables of transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    # Without this second line transformers makes no mask at all for a name of ours, and padding would be attended to.
    AttentionMaskInterface.register(NAME, _mask)


def _attention(  # noqa: PLR0917 - as transformers calls it
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """What transformers calls under our name: `[B, T, Hq, D]`, and no weights."""
    server = server_of(getattr(module, "config", None))
    if server.is_dense:
        server.saw_dense(module, query)
        attended: tuple[Tensor, Any] = _original(server.original, module)(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return attended
    if dropout:
        raise InputError("attention by plan has no dropout: set attention_dropout to 0, or call model.eval()")
    if kwargs.get("output_attentions"):
        raise InputError("attention by plan makes no weights that output_attentions could return")
    if unknown := [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]:
        raise InputError(f"attention by plan knows no {unknown[0]}")
    return server.attend(module, query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None


def _original(name: str, module: nn.Module) -> Any:
    """The attention that the model had; `eager` is no entry of the table but a function beside each model."""
    from transformers import AttentionInterface

    if name == "eager":
        return vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    return AttentionInterface()[name]


def _mask(  # noqa: PLR0917 - as transformers calls it
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = None,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    config: Any = None,
    **kwargs: Any,
) -> Any:
    """The mask under our name: which tokens are real `[B, Tk]`, or None for all; for layers and passes left, what they
    had.

    Raises:
        InputError: the model wants more than causal attention, such as pictures whose tokens see each other.
    """
    from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

    server = server_of(config)
    is_ours = local_size is None and not server.is_dense
    if is_ours and mask_function is not causal_mask_function:
        raise InputError(
            f"{type(config).__name__} wants a mask here that is not simply causal (several sequences in one, or "
            "pictures whose tokens see each other both ways); attention by plan does not have it"
        )
    if is_ours and server.makes_own_masks:
        return None if attention_mask is None or bool(attention_mask.all()) else attention_mask
    make = AttentionMaskInterface()[server.original]
    local = {} if local_size is None else {"local_size": local_size}
    return make(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        config=config,
        **local,
        **kwargs,
    )

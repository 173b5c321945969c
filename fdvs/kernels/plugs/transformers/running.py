"""What is known of the forward pass that is running: its tokens, padding, angles, and whether it is planned at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fdvs.errors import BackendUnavailableError
from fdvs.kernels.layout import Layout
from fdvs.kernels.plugs.transformers.layouts import Tokens, layout_of
from fdvs.kernels.plugs.transformers.padding import Stretch, stretches
from fdvs.kernels.rotary import Rotation

CACHE_ARGUMENTS = ("cache", "past_key_values")  # its name in newer transformers, and before


class Pass:
    """One forward pass.

    Attributes:
        kinds, places: of its tokens, see `Tokens`.
        lengths: tokens of each row that are real, or a bound where only the layers can tell.
        is_dense: attention is the model's own: prompts too short to be planned, or steps that see every token.
        is_prompt: its tokens are the first ones.
        rotation: that of the layer at work, `[B or 1, T, R]`.
        kept_in: our layer of the cache, for the layer at work; None where there is no cache or it is the model's own.
    """

    def __init__(self, kinds: Tensor | None = None) -> None:
        self.kinds = kinds
        self.places: Tensor | None = None
        self.lengths: list[int] = []
        self.is_dense, self.is_prompt = False, True
        self.rotation: Rotation | None = None
        self.kept_in: Any = None
        self._angles: Any = None
        self._rows: tuple[Any, list[Stretch]] | None = None
        self._layouts: list[Layout | None] | None = None

    def turns_by(self, angles: Any) -> None:
        """Takes the angles that a layer is given; most models give the same to all."""
        if self._angles is not angles:
            self._angles, self.rotation = angles, rotation_of(angles)

    def rows(self, mask: Tensor | None, q: Tensor, num_keys: int) -> list[Stretch]:
        """The real tokens of each row, found once for all layers that are given the same mask."""
        if self._rows is None or self._rows[0] is not mask:
            self._rows = (mask, stretches(mask, q.shape[0], q.shape[2], num_keys))
        return self._rows[1]

    def layouts(self, rows: list[Stretch], *, keep_text: bool, sinks: int) -> list[Layout | None]:
        """The layout of each row, found once for all layers."""
        if self._layouts is None:
            tokens = Tokens(self.kinds, self.places)
            self._layouts = [
                layout_of(tokens.row(i, row.begin, row.end), row.length, keep_text=keep_text, sinks=sinks)
                if row.length
                else None
                for i, row in enumerate(rows)
            ]
        return self._layouts


def cache_in(kwargs: Mapping[str, Any]) -> Any:
    """The cache among a module's arguments; None where there is none."""
    return next((kwargs[name] for name in CACHE_ARGUMENTS if kwargs.get(name) is not None), None)


def tokens_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Ids or embeddings among a text model's arguments: `[B, T]` or `[B, T, …]`."""
    given = (args[0] if args else None, kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
    found: Tensor = next(one for one in given if one is not None)
    return found


def rotation_of(angles: Any) -> Rotation | None:
    """Angles `[B or 1, T, R]` as rotations and no more: some embeddings (YaRN) stretch what they rotate, which is the
    keys' own and has to stay when they are turned back and forth."""
    if angles is None:
        return None
    cos, sin = angles
    if cos.dim() != 3:
        raise BackendUnavailableError(
            f"wanted rotary angles [B, T, R], got {list(cos.shape)}: this release of transformers mixes the axes of "
            "positions inside its layers; take a newer one"
        )
    stretch = (cos.float().square() + sin.float().square()).sqrt()
    return Rotation(cos.float() / stretch, sin.float() / stretch)

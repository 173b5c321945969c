"""Methods that are simple enough to know what they must give, and prompts for tiny models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fdvs.kernels.columns import compact
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.plans import Entries, Plan, dense_plan
from fdvs.kernels.rotary import Rotation, unrotate


class Everything:
    """A plan that keeps everything. Remembers the prompts it was given."""

    name: ClassVar[str] = "everything"
    is_causal: ClassVar[bool] = True

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def plan(self, prompt: Prompt) -> Plan:
        self.prompts.append(prompt)
        return dense_plan(prompt.q.shape[2], prompt.k.shape[2])

    def cache(self) -> None:
        return None


@dataclass(frozen=True)
class SinksAndWindow:
    """The first tokens and the newest: what a step sees is what its row of a prompt sees."""

    window: int = 8
    sinks: int = 2
    is_causal: bool = True
    name: ClassVar[str] = "sinks"

    def plan(self, prompt: Prompt) -> Plan:
        start = (prompt.q_positions + 1 - self.window).clamp_min(0)[None, None]
        first = torch.arange(self.sinks).expand(1, prompt.heads_k, -1)
        return Plan(prompt.q_positions, start, selected=compact(prompt.k, prompt.v, first))

    def cache(self) -> SinksAndWindowCache:
        return SinksAndWindowCache(self.window, self.sinks)


class OneSelection:
    """TCA whose selection is made for the first prompt of a layer and kept: what its steps go by."""

    name: ClassVar[str] = "tca"
    is_causal: ClassVar[bool] = False

    def __init__(self, **settings: Any) -> None:
        self._tca = Tca(**settings)
        self._first: dict[int, tuple[int, Entries]] = {}

    def plan(self, prompt: Prompt) -> Plan:
        if prompt.layer not in self._first:
            plan = self._tca.plan(prompt)
            assert plan.selected is not None
            self._first[prompt.layer] = prompt.layout.length, plan.selected
            return plan
        length, selected = self._first[prompt.layer]
        start = (prompt.q_positions + 1 - self._tca.window).clamp(0, length - self._tca.window)[None, None]
        return Plan(prompt.q_positions, start, selected=prompt.ops.compact(prompt.k, prompt.v, selected.last))

    def cache(self) -> ReducedCache:
        return self._tca.cache()


class SinksAndWindowCache:
    """Keeps no more than it shows. Checks that it is told the angles of each token."""

    def __init__(self, window: int, sinks: int) -> None:
        self._window, self._sinks = window, sinks
        self.num_tokens = 0
        self.turned_back: list[Tensor] = []

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        assert plan.q_positions[-1] == prompt.layout.length - 1
        self._k, self._v = prompt.k, prompt.v
        self._first = self._k[:, :, : self._sinks], self._v[:, :, : self._sinks]
        self._cut(prompt.k.shape[2])

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        assert rotation is not None
        assert rotation.cos.shape[0] == q.shape[2] == k.shape[2] == 1
        self.turned_back.append(unrotate(k, rotation, torch.tensor([0])))
        self._k, self._v = torch.cat([self._k, k], dim=2), torch.cat([self._v, v], dim=2)
        self._cut(self.num_tokens + 1)

    def _cut(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._k, self._v = self._k[:, :, -self._window :], self._v[:, :, -self._window :]

    def segments(self) -> list[Entries]:
        end = torch.arange(self.num_tokens - self._k.shape[2], self.num_tokens)
        near = Entries(self._k, self._v, end.expand(*self._k.shape[:3]))
        left_out = max(0, min(self._sinks, self.num_tokens - self._k.shape[2]))
        k, v = (part[:, :, :left_out] for part in self._first)
        return [Entries(k, v, torch.arange(left_out).expand(*k.shape[:3])), near]

    @property
    def num_entries(self) -> int:
        return sum(part.num_entries for part in self.segments())


def _pixels(*shape: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, shape, generator=generator, dtype=torch.uint8).numpy()


def _turn(processor: Any, kind: str, text: str) -> str:
    parts = [{"type": kind}, {"type": "text", "text": text}] if kind else [{"type": "text", "text": text}]
    rendered: str = processor.apply_chat_template(
        [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    return rendered


def video_prompt(processor: Any, *, frames: int = 8) -> dict[str, Any]:
    """A video of some frames and a question."""
    metadata = {"fps": 8.0, "total_num_frames": frames, "frames_indices": list(range(frames)), "duration": frames / 8}
    return dict(
        processor(
            text=[_turn(processor, "video", "What happens at the beach?")],
            videos=[_pixels(frames, 64, 96, 3, seed=1)],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_tensors="pt",
        )
    )


def image_prompts(processor: Any, *, side: str = "left") -> dict[str, Any]:
    """A batch of two pictures of unlike sizes with questions of unlike length, padded."""
    texts = [_turn(processor, "image", text) for text in ("Who?", "A train leaves the station and crosses a bridge.")]
    images = [[_pixels(64, 64, 3, seed=2)], [_pixels(64, 128, 3, seed=3)]]
    return dict(processor(text=texts, images=images, padding=True, padding_side=side, return_tensors="pt"))


def text_prompt(processor: Any) -> dict[str, Any]:
    return dict(processor(text=[_turn(processor, "", "Tell a story of two children.")], return_tensors="pt"))

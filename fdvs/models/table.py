"""The recommended models: what for, how large, under which licence, and at which revision.

Each revision stands beside the model's name in several public repositories that pin it; none is from memory. A model
without a revision here is pinned by its first download, which notes the head of its main branch in the lock file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fdvs.errors import UsageError

Role = Literal["captioner", "writer", "reader", "clip", "objects", "action", "frame_captions"]
GB = 1e9


@dataclass(frozen=True, slots=True)
class Recommended:
    """One model of the table.

    Attributes:
        name: on the hub, `OWNER/NAME`.
        sets: the names under which `fdvs models get` brings it: `small`, `base`, `paper`.
        roles: what it does here.
        revision: 40 hex digits, or empty: not pinned by the table.
        weights_bytes: of its safetensors files; the tokenizer and settings beside them add 1 to 20 MB.
        stored_bytes: of one stored number: 2 (bfloat16) or 4 (float32).
        room_gb: an estimate of what pictures, context and activations need beside the weights.
    """

    name: str
    sets: tuple[str, ...]
    roles: tuple[Role, ...]
    revision: str
    weights_bytes: int
    stored_bytes: int
    room_gb: float
    licence: str
    purpose: str

    def memory_gb(self, number_bytes: int) -> float:
        """Memory with numbers of 2 bytes (GPU, bfloat16) or 4 (CPU, float32): its numbers times that, and room."""
        return self.weights_bytes / self.stored_bytes * number_bytes / GB + self.room_gb


RECOMMENDED = (
    Recommended(
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        ("small",),
        ("captioner",),
        "7b375e1b73b11138ff12fe22c8f2822d8fe03467",
        2_029_990_624,
        4,
        1.5,
        "Apache-2.0",
        "captions on a CPU",
    ),
    Recommended(
        "Qwen/Qwen2.5-1.5B-Instruct",
        ("small",),
        ("writer", "reader"),
        "989aa7980e4cf806f80c7fef2b1adb7bc71aa306",
        3_087_467_144,
        2,
        1.0,
        "Apache-2.0",
        "stories and answers on a CPU",
    ),
    Recommended(
        "Qwen/Qwen3-VL-4B-Instruct",
        ("base",),
        ("captioner",),
        "ebb281ec70b05090aa6165b016eac8ec08e71b17",
        8_875_719_344,
        2,
        4.0,
        "Apache-2.0",
        "captions on a GPU",
    ),
    Recommended(
        "Qwen/Qwen3-4B-Instruct-2507",
        ("base",),
        ("writer", "reader"),
        "cdbee75f17c01a7cc42f958dc650907174af0554",
        8_044_982_000,
        2,
        2.5,
        "Apache-2.0",
        "stories and answers on a GPU",
    ),
    Recommended(
        "google/siglip-base-patch16-224",
        ("small", "base"),
        ("clip",),
        "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",
        812_672_320,
        4,
        0.5,
        "Apache-2.0",
        "tags, and comparing pictures",
    ),
    Recommended(
        "IDEA-Research/grounding-dino-tiny",
        ("paper",),
        ("objects",),
        "a2bb814dd30d776dcf7e30523b00659f4f141c71",
        689_359_096,
        4,
        1.5,
        "Apache-2.0",
        "objects and where they are",
    ),
    Recommended(
        "MCG-NJU/videomae-base-finetuned-kinetics",
        ("paper",),
        ("action",),
        "488eb9a0565f257b32866000305c8178965eb9f6",
        346_139_200,  # computed: 86,534,800 numbers
        4,
        0.5,
        "CC-BY-NC-4.0",
        "what is done, of 400 actions; not for commercial use",
    ),
    Recommended(
        "Salesforce/blip2-opt-2.7b",
        ("paper",),
        ("frame_captions",),
        "59a1ef6c1e5117b3f65523d1c6066825bcf315e3",
        14_979_207_136,
        4,
        1.5,
        "MIT",
        "a sentence for one picture",
    ),
)

SETS = ("small", "base", "paper")


def by_name(name: str) -> Recommended | None:
    return next((model for model in RECOMMENDED if model.name == name), None)


def default_for(role: Role, size: str) -> Recommended:
    """The model of a role in one set."""
    return next(model for model in RECOMMENDED if role in model.roles and size in model.sets)


def wanted(names: Iterable[str], role: str | None = None) -> tuple[str, ...]:
    """Hub names behind `small`, `base`, `paper` and hub names, each once, in the order asked.

    Args:
        role: of the sets, only models with this role; hub names are taken as they are.

    Raises:
        UsageError: a name is neither a set nor `OWNER/NAME`, or nothing has the role.
    """
    known = {one for model in RECOMMENDED for one in model.roles}
    if role is not None and role not in known:
        raise UsageError(f"unknown role {role!r}; known: {', '.join(sorted(known))}")
    found: dict[str, None] = {}
    for name in names:
        if name in SETS:
            of_set = [one.name for one in RECOMMENDED if name in one.sets and (role is None or role in one.roles)]
            if not of_set:
                raise UsageError(f"the set {name!r} has no model for the role {role!r}")
            found.update(dict.fromkeys(of_set))
        elif name.count("/") == 1 and not name.startswith(("/", ".")) and not name.endswith("/"):
            found[name] = None
        else:
            raise UsageError(f"{name!r} is neither a set ({', '.join(SETS)}) nor a model's name, OWNER/NAME")
    return tuple(found)

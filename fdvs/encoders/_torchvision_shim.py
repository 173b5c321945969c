"""Makes a CUDA build of torchvision importable beside a CPU build of torch.

torchvision 0.28 from the package index is linked to CUDA; beside a CPU torch its operators do not load, and
`import torchvision` fails where it registers their fakes ("operator torchvision::nms does not exist"). Because
transformers, sentence-transformers and open_clip import torchvision when they find it, all of them fail then. None of
them calls those operators here, so declaring their schemas is enough.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

_SCHEMAS = ("nms", "qnms")
_kept: list[Any] = []  # a torch.library.Library takes its definitions back when it is collected


def install() -> None:
    """Declare the missing operators. Does nothing on a CUDA torch, without torchvision, or where they exist.

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    if _kept or torch.version.cuda is not None or "torchvision" in sys.modules:
        return
    if importlib.util.find_spec("torchvision") is None:
        return
    library: Any = torch.library.Library("torchvision", "FRAGMENT")
    for name in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)

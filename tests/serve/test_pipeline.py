"""Whole builds and questions with a real vLLM: over HTTP and in process, with tiny models of random weights.

Random weights write no sense, but the same each time: what is tested is that every request is understood, that its
pictures and times reach the model, that what comes back is stored, and that nothing usable means the built-in words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.demo.film import DemoFilm
from tests.batch.commands import HANG_S, Ended
from tests.serve.running import ROOT, Endpoint

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
# A token is a byte for these models' tokenizer: few words, and a writer that is told little.
SHORT = (
    "captions.max_tokens=16",
    "captions.frame_short_side=112",
    "captions.screen_text=off",
    "story.writer_max_tokens=40",
)
SHORT_ANSWERS = {"FDVS_ANSWERS_MAX_TOKENS": "24", "FDVS_ANSWERS_EVIDENCE_TOKENS": "400"}


@pytest.fixture(scope="module")
def film(demo: DemoFilm) -> Path:
    return demo.path


def fdvs(*arguments: str | Path, key: str = "") -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FDVS_", "OPENAI_"))}
    environment |= {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": key, "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment |= SHORT_ANSWERS
    done = subprocess.run(
        [sys.executable, "-m", "fdvs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env=environment,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def built(library: Path, film: Path, *arguments: str | Path, key: str = "") -> dict[str, Any]:
    """`build --json`, done without a failure."""
    settings = [part for one in SHORT for part in ("--set", one)]
    ended = fdvs("build", film, "-L", library, "--json", *settings, *arguments, key=key)
    assert ended.code == 0, ended.err + ended.out
    report: dict[str, Any] = json.loads(ended.out)
    return report


def visual(library: Path, film: Path) -> list[dict[str, Any]]:
    """The captions of what is seen, as exported."""
    ended = fdvs("story", film.name, "-L", library, "--format", "json")
    assert ended.code == 0, ended.err
    return [caption for caption in json.loads(ended.out)["captions"] if caption["kind"] == "visual"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_serves_a_whole_build_and_a_question(
    family: str, server: Callable[[str], Endpoint], film: Path, tmp_path: Path
) -> None:
    at = server(family)
    library = tmp_path / "library"
    models = ["--captioner", "openai", "--captioner-url", at.url, "--writer", "openai", "--writer-url", at.url]
    report = built(library, film, *models, key=at.key)
    usage = report["summary"]["usage"]
    captions = visual(library, film)
    assert len(captions) >= 5
    assert {caption["outcome"] for caption in captions} <= {"ok", "truncated"}
    assert all(caption["text"] for caption in captions)
    stages = usage["videos"][0]["stages"]
    assert stages["captions"]["requests"] - stages["captions"]["retries"] == len(captions)
    assert stages["captions"]["tokens_in"] > 30 * len(captions)  # the pictures are among them
    assert stages["story"]["requests"] > 0

    settings = json.loads(fdvs("story", film.name, "-L", library, "--format", "json").out)["settings"]
    assert settings["captions"]["captioner_model"] == at.model
    assert settings["story"]["writer_model"] == at.model

    asked = fdvs(
        "ask", "How tall is the lighthouse?", "-L", library, "--reader", "openai", "--reader-url", at.url, "--json",
        key=at.key,
    )  # fmt: skip
    assert asked.code == 0, asked.err
    answer = json.loads(asked.out)
    assert answer["reader"].startswith("openai")
    assert answer["abstained"] == (answer["answer"] is None)
    assert answer["citations"]

    again = built(library, film, *models, key=at.key)
    assert again["summary"]["skipped"] == 1
    assert "usage" not in again["summary"]


def test_a_wrong_key_is_said_before_anything_is_begun(
    server: Callable[[str], Endpoint], film: Path, tmp_path: Path
) -> None:
    at = server("qwen3_vl")
    ended = fdvs("build", film, "-L", tmp_path, "--captioner", "openai", "--captioner-url", at.url, key="not-the-key")
    assert ended.code == 1
    assert "key" in ended.err
    assert "not-the-key" not in ended.err + ended.out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_in_process(family: str, checkpoint: Callable[[str], Path], film: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    model = checkpoint(family)
    report = built(
        library, film, "--captioner", "vllm", "--captioner-model", model, "--writer", "vllm", "--writer-model", model
    )
    captions = visual(library, film)
    assert len(captions) >= 5
    assert {caption["outcome"] for caption in captions} <= {"ok", "truncated"}
    assert report["summary"]["usage"]["videos"][0]["stages"]["captions"]["requests"] == len(captions)
    exported = fdvs("story", film.name, "-L", library, "--format", "json").out
    assert str(model) not in exported
    assert f"{model.name}@" in json.loads(exported)["settings"]["captions"]["captioner_model"]
    asked = fdvs("ask", "What is shown?", "-L", library, "--reader", "vllm", "--reader-model", model, "--json")
    assert asked.code == 0, asked.err
    assert json.loads(asked.out)["reader"].startswith("vllm")

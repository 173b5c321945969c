"""`fdvs serve --attention`: what vLLM is started with, and that its word alone is not taken for it."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import pytest

from fdvs.kernels.choice import choice_of
from fdvs.kernels.plugs.vllm.asked import VARIABLE, Asked, asked_in
from fdvs.serving.command import command_line, environment
from tests.cli.commands import fdvs
from tests.encoders.models import needs
from tests.serving.conftest import FakeVllm
from tests.serving.test_command import CPU, GPU, MODEL, PORT, value
from tests.serving.test_serve import KEY, line_of, run, serving

TCA = dataclasses.replace(PORT, attention=Asked(choice_of("tca", ["window=512"]), report=Path("/reports")))
ASKED = ("--attention", "tca", "--attention-set", "dense_below=256", "--attention-set", "window=64")


def test_each_prompt_is_computed_whole_and_by_itself() -> None:
    command = command_line(GPU, MODEL, TCA)
    assert {"--no-enable-prefix-caching", "--no-enable-chunked-prefill"} <= set(command)
    assert not {"--enable-prefix-caching", "--enable-chunked-prefill"} & set(command)
    assert value(command, "--max-num-batched-tokens") == value(command, "--max-model-len") == "16384"
    assert value(command, "--attention-backend") == "CUSTOM"
    assert "--attention-backend" not in command_line(CPU, MODEL, TCA)  # there is one name only, and it is ours


def test_what_is_asked_goes_by_the_environment_and_only_from_the_command_line() -> None:
    assert asked_in(environment(CPU, TCA, "k", {VARIABLE: "cca"})[VARIABLE]) == TCA.attention
    assert VARIABLE not in environment(CPU, PORT, "k", {VARIABLE: "cca"})


@needs("torch")
def test_a_server_that_plans_is_told_of_and_counted(fake: FakeVllm) -> None:
    with serving(fake, *ASKED, behaviour="sparse") as process:
        assert KEY.match(line_of(process))
        report = Path(json.loads(fake.started().environment[VARIABLE])["report"])
        assert report.stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert "attention: tca (window=64) attends in 2 of 2 layers, 30% of all pairs computed for a prompt of 320" in err
    assert "attention: 1 prompts planned, 100 tokens\n" in err
    assert not report.exists()


@needs("torch")
def test_a_server_that_fell_back_to_its_own_attention_is_ended(fake: FakeVllm) -> None:
    ended = run(fake, "ready", *ASKED)
    assert ended.code == 1
    assert "asked for attention tca (window=64), and it does not run: vLLM did not load the plug-in" in ended.err
    assert ended.out == ""
    assert fake.started().all_gone(within_s=0)


@needs("torch")
def test_a_server_that_refuses_says_what_to_pass(fake: FakeVllm) -> None:
    ended = run(fake, "refuses", *ASKED)
    assert ended.code == 1
    assert "fdvs: attention tca cannot run in this vLLM: pass --no-enable-prefix-caching\n" in ended.err
    assert "ended with exit code 1 before it was ready" in ended.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--attention", "tcb"), "unknown attention method"),
        (("--attention-set", "window=1"), "--attention METHOD, which is missing"),
        (("--attention", "tca", "--attention-set", "window"), "NAME=VALUE"),
        (("--attention", "tca", "--attention-set", "dense_below=16000", "--max-model-len", "16000"), "--max-model-len"),
    ],
)
@needs("torch")
def test_what_cannot_be_is_refused_before_anything_starts(
    fake: FakeVllm, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], told: str
) -> None:
    monkeypatch.syspath_prepend(fake.packages)
    ended = fdvs("serve", fake.model, *options)
    assert ended.code == 2
    assert told in ended.err
    assert fake.never_started()

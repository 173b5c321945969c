"""The command line and the environment that a server is started with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fdvs.errors import UsageError
from fdvs.serving.command import ServeOptions, base_url, check, command_line, environment, line_to_use
from fdvs.serving.installed import Vllm
from fdvs.serving.model import ServedModel
from tests.serving.conftest import ENGINE_OPTIONS, FRONTEND_FIELDS

ALL = frozenset(ENGINE_OPTIONS) | {field.replace("_", "-") for field in FRONTEND_FIELDS}
CPU = Vllm(Path("/packages/vllm"), "0.32.0", True, ALL)
GPU = dataclasses.replace(CPU, is_cpu=False)
MODEL = ServedModel("tiny@0123abcd", Path("/models/tiny"), 262144, True)
PORT = ServeOptions(port=8000)


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_a_video_is_remembered_and_does_not_hold_up_others() -> None:
    command = command_line(GPU, MODEL, PORT)
    assert {"--enable-prefix-caching", "--enable-chunked-prefill", "--trust-request-mm-kwargs"} <= set(command)
    assert json.loads(value(command, "--limit-mm-per-prompt")) == {"image": 64, "video": 1}
    assert value(command, "--mm-processor-cache-gb") == "4"
    assert value(command, "--generation-config") == "vllm"
    assert value(command, "--max-num-seqs") == "64"
    assert "--enforce-eager" not in command
    assert "--gpu-memory-utilization" not in command


def test_it_listens_on_this_machine_alone_under_the_name_of_the_model() -> None:
    command = command_line(GPU, MODEL, PORT)
    assert value(command, "--host") == "127.0.0.1"
    assert value(command, "--port") == "8000"
    assert value(command, "--served-model-name") == "tiny@0123abcd"
    assert value(command, "--model") == "/models/tiny"


def test_a_cpu_computes_few_requests_at_once() -> None:
    command = command_line(CPU, MODEL, PORT)
    assert value(command, "--max-num-seqs") == "4"
    assert value(command, "--mm-processor-cache-gb") == "1"
    assert "--enforce-eager" in command


@pytest.mark.parametrize(
    ("of_model", "asked", "passed"), [(262144, 0, 16384), (4096, 0, 4096), (0, 0, 16384), (4096, 2048, 2048)]
)
def test_the_context_is_no_longer_than_needed(of_model: int, asked: int, passed: int) -> None:
    model = dataclasses.replace(MODEL, context_tokens=of_model)
    command = command_line(GPU, model, dataclasses.replace(PORT, max_model_len=asked))
    assert value(command, "--max-model-len") == str(passed)


def test_what_the_user_chooses_is_passed_on() -> None:
    command = command_line(GPU, MODEL, dataclasses.replace(PORT, max_num_seqs=7, gpu_memory=0.5))
    assert value(command, "--max-num-seqs") == "7"
    assert value(command, "--gpu-memory-utilization") == "0.5"


def test_options_that_an_older_vllm_lacks_are_left_out() -> None:
    older = dataclasses.replace(GPU, options=ALL - {"trust-request-mm-kwargs", "mm-processor-cache-gb"})
    command = command_line(older, MODEL, PORT)
    assert set(command_line(GPU, MODEL, PORT)) - set(command) == {
        "--trust-request-mm-kwargs", "--mm-processor-cache-gb", "4"
    }  # fmt: skip


def test_a_model_that_only_reads_gets_no_options_for_pictures() -> None:
    command = command_line(GPU, dataclasses.replace(MODEL, sees=False), PORT)
    assert not [word for word in command if "mm" in word]


def test_further_options_come_last_and_so_win() -> None:
    command = command_line(GPU, MODEL, dataclasses.replace(PORT, extra=("--max-model-len", "9")))
    assert command[-2:] == ["--max-model-len", "9"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_addresses_of_this_machine_alone_are_taken(host: str) -> None:
    check(dataclasses.replace(PORT, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "localhost.example.org", "fe80::1"])
def test_addresses_that_others_reach_are_refused(host: str) -> None:
    with pytest.raises(UsageError, match="ssh -L"):
        check(dataclasses.replace(PORT, host=host))


@pytest.mark.parametrize(
    "extra",
    [
        ("--host", "0.0.0.0"),
        ("--host=0.0.0.0",),
        ("--hos", "0.0.0.0"),
        ("--api-key", "k"),
        ("--api_key=k",),
        ("--dtype", "auto", "--port", "1"),
        ("--served_model_name", "x"),
        ("--uds", "/tmp/x"),
    ],
)
def test_further_options_open_no_door(extra: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="fdvs serve sets it"):
        check(dataclasses.replace(PORT, extra=extra))


def test_a_second_model_is_refused() -> None:
    with pytest.raises(UsageError, match="one MODEL"):
        check(dataclasses.replace(PORT, extra=("another",)))


def test_the_key_is_in_the_environment_and_a_key_for_others_is_not() -> None:
    outer = {"OPENAI_API_KEY": "of-others", "VLLM_API_KEY": "older", "PATH": "/bin"}
    made = environment(GPU, PORT, "secret", outer)
    assert made["VLLM_API_KEY"] == "secret"
    assert "of-others" not in made.values()
    assert made["PATH"] == "/bin"
    assert made["HF_HUB_OFFLINE"] == "1"
    assert not [name for name in made if name.startswith("VLLM_CPU")]


def test_the_cache_of_a_cpu_is_bounded_unless_the_user_says_otherwise() -> None:
    assert environment(CPU, PORT, "k", {})["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert environment(CPU, PORT, "k", {"VLLM_CPU_KVCACHE_SPACE": "1"})["VLLM_CPU_KVCACHE_SPACE"] == "1"
    half = dataclasses.replace(PORT, gpu_memory=0.5)
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(CPU, half, "k", {})


def test_the_line_to_use_it_can_be_pasted() -> None:
    assert line_to_use(MODEL, PORT, "k-1", None) == (
        "OPENAI_API_KEY=k-1 fdvs build VIDEOS "
        "--captioner openai --captioner-url http://127.0.0.1:8000/v1 --captioner-model tiny@0123abcd "
        "--writer openai --writer-url http://127.0.0.1:8000/v1 --writer-model tiny@0123abcd"
    )


def test_the_line_to_use_it_shows_no_key_of_the_users_own_and_asks_a_reader_for_no_captions() -> None:
    reader = dataclasses.replace(MODEL, name="two words", sees=False)
    assert line_to_use(reader, PORT, "secret", Path("my keys/k")) == (
        "OPENAI_API_KEY=\"$(cat 'my keys/k')\" fdvs build VIDEOS "
        "--writer openai --writer-url http://127.0.0.1:8000/v1 --writer-model 'two words'"
    )


def test_an_address_of_the_newer_kind_is_written_in_brackets() -> None:
    assert base_url(ServeOptions(host="::1", port=80)) == "http://[::1]:80"

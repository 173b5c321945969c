"""Sparse attention in a real vLLM, in this process and in a server: it runs, and what keeps everything changes nothing.

In float32, where the kernels of two hosts differ in the last digits and random weights still write the same tokens.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.chat.base import ChatRequest, Finish
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import BackendUnavailableError
from fdvs.kernels.choice import choice_of
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.plugs.vllm.asked import Asked, DecodeRule
from fdvs.kernels.plugs.vllm.batches import Split, Splitter
from fdvs.kernels.plugs.vllm.limits import what_hinders
from fdvs.kernels.plugs.vllm.plugin import asking
from fdvs.kernels.plugs.vllm.proof import ATTEMPTS, read_reports
from fdvs.kernels.plugs.vllm.session import Session, session_of
from fdvs.serving.attention import prove
from tests.conftest import TinyModel
from tests.encoders.models import needs
from tests.serve.running import ROOT, Running, text, video
from tools.vllm_contract import contract_of, file_of, installed_package, installed_version, written

pytestmark = [pytest.mark.model, pytest.mark.slow, needs("vllm"), pytest.mark.filterwarnings("default")]

DECODE: dict[str, DecodeRule] = {"qwen2_5_vl": "dense", "qwen3_vl": "reduced"}
SHORT = 30
WRITTEN = (3, 8, 5, 4)
SPARSE = Tca(window=16, block=8, share=0.3)
OPTIONS: dict[str, Any] = {
    "max_model_len": 1024, "max_num_batched_tokens": 1024, "max_num_seqs": 2, "enable_chunked_prefill": False,
    "enable_prefix_caching": False, "enforce_eager": True, "dtype": "float32", "seed": 0, "disable_log_stats": True,
    "generation_config": "vllm", "load_format": "safetensors", "kv_cache_memory_bytes": 2**26,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Engine:
    """A model in vLLM, and in its place the same model with our attention."""

    family: str
    stock: Any
    llm: Any
    session: Session
    decode: DecodeRule


@pytest.fixture(scope="module", params=list(DECODE))
def engine(request: pytest.FixtureRequest, tiny_model: TinyModel) -> Iterator[Engine]:
    family = str(request.param)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"), ("OMP_NUM_THREADS", "2"),
            ("VLLM_CPU_OMP_THREADS_BIND", "nobind"), ("VLLM_LOGGING_LEVEL", "WARNING"), ("HF_HUB_OFFLINE", "1"),
        ):  # fmt: skip
            patch.setenv(name, value)
        patch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)  # it would win over `kv_cache_memory_bytes`
        from vllm import LLM

        asked = Asked(choice_of("tca", [f"dense_below={SHORT}", "window=4096"]), DECODE[family])
        with asking(None):
            stock = LLM(str(tiny_model(family)), **OPTIONS)
        with asking(asked):
            llm = LLM(str(tiny_model(family)), **OPTIONS)
        yield Engine(family, stock, llm, session_of(asked.to_json()), asked.decode)
        for one in (stock, llm):
            one.llm_engine.engine_core.shutdown()
        session_of.cache_clear()


def prompts() -> list[dict[str, Any]]:
    """A video, a picture, and words; the first ones end while others are still being written."""
    from PIL import Image

    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (8, 56, 56, 3), dtype=np.uint8)
    metadata = {
        "fps": 2.0, "duration": 4.0, "total_num_frames": 8, "frames_indices": list(range(8)),
        "video_backend": "opencv", "do_sample_frames": False,
    }  # fmt: skip
    picture = Image.fromarray(random.integers(0, 255, (112, 112, 3), dtype=np.uint8))
    words = "Describe what happens in these pictures. "
    return [
        {"prompt": f"<|vision_start|><|video_pad|><|vision_end|>{words}",
         "multi_modal_data": {"video": [(frames, metadata)]}},
        {"prompt": f"<|vision_start|><|image_pad|><|vision_end|>{words * 3}", "multi_modal_data": {"image": [picture]}},
        {"prompt": words * 20},
        {"prompt": words},
    ]  # fmt: skip


def generated(llm: Any) -> tuple[list[tuple[list[int], float]], list[int]]:
    """For each prompt the tokens it goes on with and the sum of their log probabilities; and the lengths of all."""
    from vllm import SamplingParams

    params = [SamplingParams(temperature=0, max_tokens=tokens, logprobs=1, ignore_eos=True) for tokens in WRITTEN]
    outputs = llm.generate(prompts(), params, use_tqdm=False)
    written = [
        (list(one.token_ids), sum(step[token].logprob for step, token in zip(one.logprobs, one.token_ids, strict=True)))
        for one in (output.outputs[0] for output in outputs)
    ]
    return written, [len(output.prompt_token_ids) for output in outputs]


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[Split]:
    """How each step is taken apart."""
    seen: list[Split] = []
    real = Splitter.split

    def split(self: Splitter, *arguments: Any, **more: Any) -> Split:
        seen.append(real(self, *arguments, **more))
        return seen[-1]

    monkeypatch.setattr(Splitter, "split", split)
    return seen


def test_a_plan_that_keeps_everything_writes_what_vllm_writes(engine: Engine, splits: list[Split]) -> None:
    wanted, lengths = generated(engine.stock)
    assert not splits  # that one is vLLM's own
    got, _ = generated(engine.llm)
    assert [tokens for tokens, _ in got] == [tokens for tokens, _ in wanted]
    assert [total for _, total in got] == pytest.approx([total for _, total in wanted], abs=1e-2)
    counts = engine.session.counts
    is_planned = [length >= SHORT for length in lengths]
    assert counts.planned_prompts == sum(is_planned) in {2, 3}
    assert counts.planned_calls == counts.planned_prompts * len(counts.layers)
    assert counts.dense["short"] == 4 - counts.planned_prompts
    assert counts.pairs == counts.dense_pairs > 0
    assert any(one.planned and (one.dense or one.reduced) for one in splits)  # prompts beside those that write
    steps = [tokens - 1 for tokens in WRITTEN]
    reduced = sum(n for n, planned in zip(steps, is_planned, strict=True) if planned) * (engine.decode == "reduced")
    assert counts.reduced_steps == reduced
    assert counts.dense["write"] == sum(steps) - reduced


def test_a_plan_that_leaves_things_out_computes_less_and_stays_finite(engine: Engine) -> None:
    whole, _ = generated(engine.llm)
    before = dataclasses.replace(engine.session.counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.session, "method", SPARSE)
        got, lengths = generated(engine.llm)
    counts = engine.session.counts
    planned = sum(length >= SHORT for length in lengths)
    assert counts.planned_calls - before.planned_calls == planned * len(counts.layers)
    assert (counts.pairs - before.pairs) < 0.9 * (counts.dense_pairs - before.dense_pairs)
    assert all(math.isfinite(total) for _, total in got)
    assert [total for _, total in got] != pytest.approx([total for _, total in whole], abs=1e-3)


def test_settings_that_would_give_it_parts_are_refused_with_what_to_pass(engine: Engine) -> None:
    asked = engine.session.asked
    config = engine.llm.llm_engine.vllm_config
    assert what_hinders(config, asked, has_reduced_cache=True) == []
    changed = copy.copy(config)
    changed.scheduler_config, changed.cache_config = copy.copy(config.scheduler_config), copy.copy(config.cache_config)
    changed.scheduler_config.enable_chunked_prefill = changed.cache_config.enable_prefix_caching = True
    told = " ".join(what_hinders(changed, asked, has_reduced_cache=True))
    assert "--no-enable-chunked-prefill --max-num-batched-tokens 1024" in told
    assert "--no-enable-prefix-caching" in told


def test_the_chat_model_in_this_process_says_that_it_runs(tiny_model: TinyModel) -> None:
    choice = choice_of("tca", ["dense_below=64", "window=16", "block=8"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        chat: Any = open_chat("vllm", "", f"file:{tiny_model('qwen2_5_vl')}", Serving(attention=choice))
        (note,) = chat.notes
        assert note.startswith("attention tca (block=8, window=16) attends in 2 of 2 layers, ")
        assert "for a prompt of 128 tokens; shorter than 64 are dense" in note
        reply = chat.chat([ChatRequest("", ("What is told of the lake? " * 20,), max_tokens=4)])[0]
        (summary,) = chat.summary
        chat.close()
    # Ours, and those that proved it: one, or more where the report of the first was not written yet.
    told = re.fullmatch(r"attention tca \(block=8, window=16\): (\d+) prompts planned, .*", summary)
    assert told
    assert 2 <= int(told[1]) <= 1 + ATTEMPTS
    assert reply.finish is Finish.LENGTH


def test_the_server_proves_its_attention_before_it_is_said_to_be_ready(running: Callable[[str], Running]) -> None:
    one = running("attention")
    progress = one.log.with_suffix(".progress").read_text()
    assert "attention: tca (block=8, window=16) attends in 4 of 4 layers, " in progress
    assert progress.index("attention: tca") < progress.index("ready after")
    status, reply = one.chat([video([1, 2, 3, 4, 5, 6, 7, 8]), text("Describe what happens in these pictures.")])
    assert status == 200, reply
    assert not (reply["usage"].get("prompt_tokens_details") or {}).get("cached_tokens")


def test_a_server_that_computes_with_its_own_attention_is_found_out(
    running: Callable[[str], Running], tmp_path: Path
) -> None:
    at = running("qwen3_vl").at
    asked = Asked(choice_of("tca", ["dense_below=64"]), report=tmp_path)
    assert read_reports(tmp_path).stages == ()
    with pytest.raises(BackendUnavailableError, match="does not run: vLLM did not load the plug-in fdvs_attention"):
        prove(at.url.removesuffix("/v1"), at.key, at.model, asked)


def test_the_interface_of_this_vllm_is_the_one_that_was_written_down() -> None:
    package = installed_package()
    version = installed_version(package)
    found = written(version, contract_of(package))
    assert found == file_of(version).read_text(), f"{ROOT}/tools/vllm_contract.py --installed writes it anew"

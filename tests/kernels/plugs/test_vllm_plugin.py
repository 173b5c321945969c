"""What the plug-in of vLLM is asked for, refuses and reports. vLLM itself is not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.errors import BackendUnavailableError, InputError, UnknownBackendError
from fdvs.kernels.choice import choice_of
from fdvs.kernels.plugs.vllm import plugin
from fdvs.kernels.plugs.vllm.asked import VARIABLE, Asked, asked_here, asked_in
from fdvs.kernels.plugs.vllm.limits import what_hinders, why_unserved
from fdvs.kernels.plugs.vllm.proof import Counts, Report, read_reports


def test_what_is_asked_survives_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(choice_of("cca", ["group=8", "dense_below=64"]), "reduced", tmp_path, "gather")
    monkeypatch.setenv(VARIABLE, asked.to_json())
    assert asked_here() == asked
    assert asked_in("tca") == Asked(choice_of("tca"))


@pytest.mark.parametrize("text", ["{", "{}", '{"choice": 3}', '{"choice": {"method": "tca"}, "decode": "fast"}'])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        asked_in(text)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UnknownBackendError):
        asked_in("mystery")


def test_a_vllm_that_is_not_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    plugin.register()  # would fail: there is no vLLM to import
    monkeypatch.setenv(VARIABLE, "")
    plugin.register()
    with plugin.asking(None):
        assert asked_here() is None


def test_asking_for_nothing_hides_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tca")
    with plugin.asking(None):
        assert asked_here() is None
    assert os.environ[VARIABLE] == "tca"


@pytest.mark.parametrize("version", ["0.26.0", "0.32.0", "0.33.1.dev4+gabc", "0.32.0+cpu"])
def test_releases_that_are_known_have_an_adapter(version: str) -> None:
    assert plugin.adapter_of(version) == "v0_26"


@pytest.mark.parametrize("version", ["0.25.1", "0.34.0", "1.0.0", "dev"])
def test_other_releases_are_refused_with_those_that_are_known(version: str) -> None:
    with pytest.raises(BackendUnavailableError, match=r"vLLM 0\.26 to 0\.33, and this is vLLM"):
        plugin.adapter_of(version)


def config(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "enable_chunked_prefill": False, "max_num_batched_tokens": 4096, "enable_prefix_caching": False,
        "speculative_config": None, "max_model_len": 4096, "tensor_parallel_size": 1,
        "decode_context_parallel_size": 1, "prefill_context_parallel_size": 1, "is_mm_prefix_lm": False, **changes,
    }  # fmt: skip
    part = SimpleNamespace(**values)
    return SimpleNamespace(
        scheduler_config=part, cache_config=part, model_config=part, parallel_config=part,
        speculative_config=values["speculative_config"],
    )  # fmt: skip


TCA = Asked(choice_of("tca", ["dense_below=64"]))


def test_settings_that_suit_are_taken() -> None:
    assert what_hinders(config(), TCA, has_reduced_cache=True) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"enable_chunked_prefill": True}, "--no-enable-chunked-prefill --max-num-batched-tokens 4096"),
        ({"max_num_batched_tokens": 2048}, "--max-num-batched-tokens 4096"),
        ({"enable_prefix_caching": True}, "--no-enable-prefix-caching"),
        ({"speculative_config": object()}, "--speculative-config"),
        ({"decode_context_parallel_size": 2}, "context parallelism"),
        ({"is_mm_prefix_lm": True}, "causal"),
        ({"max_model_len": 64, "max_num_batched_tokens": 64}, "dense_below"),
    ],
)
def test_settings_that_do_not_suit_are_named_with_what_to_pass(changes: dict[str, Any], told: str) -> None:
    (line,) = what_hinders(config(**changes), TCA, has_reduced_cache=True)
    assert told in line


def test_a_method_without_a_cache_of_its_own_writes_densely() -> None:
    asked = Asked(choice_of("blocks", ["dense_below=64"]), "reduced")
    assert "decode=dense" in what_hinders(config(), asked, has_reduced_cache=False)[0]


def test_budgets_of_all_heads_are_not_for_parts_of_a_model() -> None:
    asked = Asked(choice_of("tca", ["budgets=b.json", "dense_below=64"]))
    assert "budgets" in what_hinders(config(tensor_parallel_size=2), asked, has_reduced_cache=True)[0]


PLAIN = {
    "sliding_window": -1, "alibi_slopes": None, "logits_soft_cap": 0, "sinks": None, "attn_type": "decoder",
    "kv_sharing_target_layer_name": None, "kv_cache_dtype": "auto",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"sliding_window": (-1, -1)}, ""),
        ({"sliding_window": None}, ""),
        ({"sliding_window": 128}, "sliding window"),
        ({"sliding_window": (127, 0)}, "sliding window"),
        ({"alibi_slopes": [0.5]}, "ALiBi"),
        ({"logits_soft_cap": 30.0}, "soft cap on logits"),
        ({"sinks": [0.1]}, "learned sinks"),
        ({"attn_type": "encoder_only"}, "no decoder layer"),
        ({"kv_sharing_target_layer_name": "layers.1"}, "keys of another layer"),
        ({"kv_cache_dtype": "fp8_e4m3"}, "quantised cache"),
    ],
)
def test_layers_that_need_more_are_told_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    assert why_unserved(SimpleNamespace(**PLAIN | changes)) == reason


def test_reports_of_all_processes_count_together(tmp_path: Path) -> None:
    counts = Counts(planned_prompts=2, planned_tokens=300, planned_calls=4, pairs=30, dense_pairs=100)
    counts.layers |= {"a", "b"}
    counts.unserved["c"] = "sliding window"
    counts.count_dense("short")
    Report(tmp_path).write({"stage": "built", "counts": counts.to_json()})
    (tmp_path / "attention-1.json").write_text(json.dumps({"pid": 1, "stage": "registered"}))
    (tmp_path / "attention-2.json").write_text(
        json.dumps({"pid": 2, "stage": "built", "counts": counts.to_json() | {"layers": ["d"], "pairs": 50}})
    )
    seen = read_reports(tmp_path)
    assert sorted(seen.stages) == ["built", "built", "registered"]
    assert (seen.planned_prompts, seen.planned_calls, seen.kept_share) == (4, 8, 0.4)
    assert seen.told() == "3 of 4 layers, 40% of all pairs computed"
    assert seen.total() == "4 prompts planned, 600 tokens; attended to in full: 2 × short"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ([], "did not load the plug-in"),
        ([{"stage": "registered"}], "chose another attention backend"),
        ([{"stage": "registered"}, {"stage": "built", "counts": Counts(dense={"short": 3}).to_json()}], "3 × short"),
        ([{"stage": "refused", "refusal": "because"}, {"stage": "registered"}], "because"),
    ],
)
def test_what_went_wrong_is_told(tmp_path: Path, written: list[dict[str, Any]], told: str) -> None:
    for pid, content in enumerate(written):
        (tmp_path / f"attention-{pid}.json").write_text(json.dumps(content))
    assert told in read_reports(tmp_path).what_is_wrong()

"""Plans inside tiny models of transformers: dense again where all is kept, exact steps, everything undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from fdvs.encoders._local_models import require
from fdvs.errors import BackendUnavailableError, InputError, ShapeError, UsageError
from fdvs.kernels.methods.cca import Cca
from fdvs.kernels.plugs.transformers import enable
from fdvs.kernels.plugs.transformers.cache import layer_class
from tests.conftest import TinyModel
from tests.encoders.models import needs
from tests.kernels.plugs.methods import (
    Everything,
    OneSelection,
    SinksAndWindow,
    image_prompts,
    text_prompt,
    video_prompt,
)

pytestmark = [pytest.mark.model, needs("torch", "transformers", "safetensors")]
VL = ["qwen2_5_vl", "qwen3_vl"]
TINY = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 32,
}
Load = Callable[[str], tuple[Any, Any]]


@pytest.fixture(scope="module")
def load(tiny_model: TinyModel) -> Load:
    """`load(family)`: a tiny model and what prepares its input, loaded once."""
    transformers = require("transformers", "models")
    loaded: dict[str, tuple[Any, Any]] = {}

    def model_of(family: str) -> tuple[Any, Any]:
        if family not in loaded:
            folder = tiny_model(family)
            auto = transformers.AutoModelForCausalLM if family == "qwen2" else transformers.AutoModelForImageTextToText
            preparing = transformers.AutoTokenizer if family == "qwen2" else transformers.AutoProcessor
            model = auto.from_pretrained(folder, dtype=torch.float32).eval()
            loaded[family] = model, preparing.from_pretrained(folder)
        return loaded[family]

    return model_of


def written(model: Any, inputs: dict[str, Any], tokens: int = 6, **options: Any) -> Any:
    """So many tokens, none of which stands for a picture."""
    fixed = {"max_new_tokens": tokens, "min_new_tokens": tokens, "suppress_tokens": list(range(3, 8))}
    with torch.inference_mode():
        return model.generate(**inputs, **fixed, do_sample=False, **options)


def hooks_of(model: Any) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


# ---- a plan that keeps everything -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", VL)
def test_a_plan_that_keeps_everything_writes_what_the_model_wrote(load: Load, family: str) -> None:
    model, processor = load(family)
    for inputs in (video_prompt(processor), image_prompts(processor)):
        expected = written(model, inputs)
        with enable(model, Everything(), dense_below=0) as plug:
            assert torch.equal(written(model, inputs), expected)
        assert plug.served_layers == tuple(range(model.config.get_text_config().num_hidden_layers))
        assert not plug.left_layers
        assert torch.equal(written(model, inputs), expected)


def test_padding_on_the_right_is_not_attended_to_either(load: Load) -> None:
    model, processor = load("qwen3_vl")
    inputs = image_prompts(processor, side="right")
    real = inputs["attention_mask"].bool()
    assert not real.all()
    with torch.inference_mode():
        expected = model(**inputs).logits[real]
        with enable(model, Everything(), dense_below=0):
            torch.testing.assert_close(model(**inputs).logits[real], expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5"])
def test_layers_that_are_left_attend_as_before_in_a_padded_batch(load: Load, family: str) -> None:
    model, processor = load(family)
    inputs = image_prompts(processor)
    expected = written(model, inputs)
    last = model.config.get_text_config().num_hidden_layers - 1
    method = Everything()
    with enable(model, method, layers=[last], dense_below=0) as plug:
        assert torch.equal(written(model, inputs), expected)
    assert plug.served_layers == (last,)
    assert {prompt.layer for prompt in method.prompts} == {last}
    said = {one.reason for one in plug.left_layers}
    assert said == ({"linear attention"} if family == "qwen3_5" else {"it was not asked for"})


def test_short_prompts_are_dense(load: Load) -> None:
    model, processor = load("qwen2_5_vl")
    inputs = image_prompts(processor)
    lengths = inputs["attention_mask"].sum(-1).tolist()
    expected = written(model, inputs)
    with enable(model, SinksAndWindow(), dense_below=max(lengths) + 1) as plug:
        assert torch.equal(written(model, inputs), expected)
        assert all(one.kept_share == 1 and one.logical_entries == one.physical_entries for one in plug.report())
    with enable(model, SinksAndWindow(), dense_below=max(lengths)) as plug:
        out = written(model, inputs)
        shorter = lengths.index(min(lengths))
        assert torch.equal(out[shorter], expected[shorter])
        assert plug.report()[0].kept_share < 1
        assert (plug.totals().planned, plug.totals().dense) == (1, 1)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_batch_of_short_prompts_is_left_to_the_model_in_every_way(load: Load, implementation: str) -> None:
    model, processor = load("qwen2_5_vl")
    inputs = image_prompts(processor)
    model.set_attn_implementation(implementation)
    ways: list[dict[str, Any]] = [{}, {"num_beams": 2}, {"cache_implementation": "static"}]
    try:
        expected = [written(model, inputs, **way) for way in ways]
        with enable(model, SinksAndWindow(), dense_below=1000, measure=True) as plug:
            assert all(torch.equal(written(model, inputs, **way), one) for way, one in zip(ways, expected, strict=True))
            said = written(model, inputs, 4, return_dict_in_generate=True)
            cache = said.past_key_values if hasattr(said, "past_key_values") else said.cache
            assert not any(isinstance(layer, layer_class()) for layer in cache.layers)
            entries = int(inputs["attention_mask"].sum()) + 2 * 3
            assert [(one.kept_share, one.retained_mass, one.logical_entries) for one in plug.report()] == [
                (1.0, 1.0, entries)
            ] * 2
            assert (plug.totals().planned, plug.totals().dense) == (0, 10)  # two beams of each row are four prompts
    finally:
        model.set_attn_implementation("sdpa")


def test_a_method_that_keeps_every_token_leaves_steps_and_cache_to_the_model(load: Load) -> None:
    model, processor = load("qwen3_vl")
    inputs = video_prompt(processor)
    for way in ({"num_beams": 2}, {"cache_implementation": "static"}, {"prompt_lookup_num_tokens": 2}):
        expected = written(model, inputs, **way)
        method = Everything()
        with enable(model, method, dense_below=0):
            assert torch.equal(written(model, inputs, **way), expected)
        assert len(method.prompts) in {4, 8}  # each layer once for each row, and not once for each step


# ---- what a method is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", VL)
def test_groups_may_not_cross_frames_and_text_stays_exact(load: Load, family: str) -> None:
    model, processor = load(family)
    inputs = video_prompt(processor)
    ids, frames = inputs["input_ids"][0], int(inputs["video_grid_thw"][0, 0])
    per_frame = int(inputs["video_grid_thw"][0, 1:].prod()) // 4
    seen = (ids == model.config.video_token_id).nonzero()[:, 0]
    begins = seen[::per_frame].tolist()
    assert len(begins) == frames == 4
    method = Everything()
    with enable(model, method, dense_below=0, sinks=1):
        written(model, inputs, 1)
    layout = method.prompts[0].layout
    assert layout.length == len(ids)
    assert layout.exact is not None
    assert torch.equal(layout.exact, ids != model.config.video_token_id)
    assert layout.borders is not None
    ends = [begin + per_frame for begin in begins]
    assert layout.borders.tolist() == sorted({*begins, *ends} - {len(ids)})
    with enable(model, method, dense_below=0, sinks=3, keep_text=False):
        written(model, inputs, 1)
    assert method.prompts[-1].layout.exact_positions().tolist() == [0, 1, 2]


@pytest.mark.parametrize("family", VL)
def test_keys_are_turned_back_by_the_angles_that_are_handed_over(load: Load, family: str) -> None:
    from fdvs.kernels.rotary import unrotate

    model, processor = load(family)
    text = model.model.language_model
    flat: list[Any] = []
    layer = text.layers[0]
    shaper = getattr(layer.self_attn, "k_norm", layer.self_attn.k_proj)
    hook = shaper.register_forward_hook(lambda _module, _args, out: flat.append(out))
    method = Everything()
    with enable(model, method, dense_below=0):
        written(model, video_prompt(processor), 1)
    hook.remove()
    prompt = method.prompts[0]
    assert prompt.layout.rotation is not None
    expected = flat[0].reshape(1, prompt.layout.length, 2, 32).transpose(1, 2)
    back = unrotate(prompt.k, prompt.layout.rotation, torch.arange(prompt.layout.length))
    torch.testing.assert_close(back, expected, atol=1e-5, rtol=1e-4)


def test_what_an_embedding_stretches_stays_stretched() -> None:
    from fdvs.kernels.rotary import rotate, unrotate

    transformers = require("transformers", "models")
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 32}
    config = transformers.Qwen2Config(**TINY, num_hidden_layers=1, rope_parameters=yarn, max_position_embeddings=256)
    model = transformers.Qwen2ForCausalLM(config).eval()
    assert model.model.rotary_emb.attention_scaling != 1
    flat: list[Any] = []
    hook = model.model.layers[0].self_attn.k_proj.register_forward_hook(lambda _module, _args, out: flat.append(out))
    method = Everything()
    with enable(model, method, dense_below=0), torch.inference_mode():
        model(torch.arange(20)[None])
    hook.remove()
    prompt, places = method.prompts[0], torch.arange(20)
    assert prompt.layout.rotation is not None
    back = unrotate(prompt.k, prompt.layout.rotation, places)
    stretched = flat[0].reshape(1, 20, 2, 16).transpose(1, 2) * model.model.rotary_emb.attention_scaling
    torch.testing.assert_close(back, stretched, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rotate(back, prompt.layout.rotation, places), prompt.k, atol=1e-5, rtol=1e-4)


def test_a_prompt_of_text_has_no_exact_text(load: Load) -> None:
    for family in ("qwen2", "qwen3_vl"):
        model, processor = load(family)
        method = Everything()
        inputs = text_prompt(processor)
        inputs.pop("token_type_ids", None)
        expected = written(model, inputs)
        with enable(model, method, dense_below=0, sinks=2):
            assert torch.equal(written(model, inputs), expected)
        assert method.prompts[0].layout.exact_positions().tolist() == [0, 1]
        assert method.prompts[0].layout.borders is None


# ---- reduced caches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "make"),
    [
        ("qwen2_5_vl", SinksAndWindow),
        ("qwen2_5_vl", partial(OneSelection, window=16, block=8, share=0.3)),
        ("qwen3_vl", partial(Cca, window=12, group=3)),
        ("qwen3_vl", partial(OneSelection, window=16, block=8, share=0.3)),
        ("qwen3_5", SinksAndWindow),
        ("qwen3_5", partial(Cca, window=12, group=3, bias="log_count")),
    ],
)
def test_steps_with_a_reduced_cache_are_the_rows_of_one_long_prompt(
    load: Load, family: str, make: Callable[[], Any]
) -> None:
    model, processor = load(family)
    inputs = video_prompt(processor, frames=20)
    options = {"return_dict_in_generate": True, "output_logits": True}
    with enable(model, make(), dense_below=0, keep_text=False, sinks=1, measure=True) as plug:
        said = written(model, inputs, 12, **options)
        reports = plug.report()
        tokens = said.sequences
        length, total = inputs["input_ids"].shape[1], tokens.shape[1]
        again = dict(inputs, input_ids=tokens, attention_mask=torch.ones_like(tokens))
        again["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, total - length))
        with torch.inference_mode():
            whole = model(**again, use_cache=False).logits
    steps = torch.stack(said.logits, dim=1)
    torch.testing.assert_close(steps, whole[:, length - 1 : -1], atol=2e-4, rtol=1e-3)
    with torch.inference_mode():
        assert (steps - model(**again, use_cache=False).logits[:, length - 1 : -1]).abs().max() > 1e-2  # dense
    cache = said.past_key_values if hasattr(said, "past_key_values") else said.cache
    assert cache.get_seq_length() == total - 1  # the last token was written and not read
    for index, told in zip(plug.served_layers, reports, strict=True):
        layer = cache.layers[index]
        assert isinstance(layer, layer_class())
        assert (told.logical_entries, told.physical_entries) == (total - 1, layer.num_entries)
        assert layer.num_entries < 0.7 * (total - 1)
        if isinstance(plug.method, SinksAndWindow):
            assert layer.num_entries == 10
        assert 0 < told.kept_share < 0.8
        assert told.retained_mass is not None
        assert 0.05 < told.retained_mass < 1


def test_rows_of_a_batch_are_what_they_are_alone(load: Load) -> None:
    model, processor = load("qwen2_5_vl")
    inputs = image_prompts(processor)
    with enable(model, SinksAndWindow(), dense_below=0):
        together = written(model, inputs, 8)[:, -8:]
        first = int(inputs["attention_mask"][0].argmax())
        patches = int(inputs["image_grid_thw"][0].prod())
        alone = {
            key: value[:1, first:]
            for key, value in inputs.items()
            if value.shape[:2] == together.shape[:1] + inputs["input_ids"].shape[1:]
        }
        alone |= {"pixel_values": inputs["pixel_values"][:patches], "image_grid_thw": inputs["image_grid_thw"][:1]}
        assert torch.equal(written(model, alone, 8)[:, -8:], together[:1])


def test_tokens_after_a_prompt_come_one_by_one_or_not_at_all(load: Load) -> None:
    model, processor = load("qwen2")
    ids = text_prompt(processor)["input_ids"]
    transformers = require("transformers", "models")
    name = "cache" if hasattr(model(ids[:, :2]), "cache") else "past_key_values"

    def in_two_parts() -> Any:
        past = transformers.DynamicCache(config=model.config)
        with torch.inference_mode():
            model(ids[:, :9], **{name: past})
            return model(ids[:, 9:], **{name: past}).logits

    with enable(model, SinksAndWindow(), dense_below=0):
        with torch.inference_mode():
            whole = model(ids, use_cache=False).logits
        torch.testing.assert_close(in_two_parts(), whole[:, 9:], atol=2e-4, rtol=1e-3)
    with enable(model, SinksAndWindow(is_causal=False), dense_below=0), pytest.raises(InputError, match="as a whole"):
        in_two_parts()
    with enable(model, SinksAndWindow(), dense_below=12), pytest.raises(InputError, match="as a whole, and after 9"):
        in_two_parts()  # its first part was too short to be planned
    with enable(model, SinksAndWindow(), dense_below=1000), torch.inference_mode():
        torch.testing.assert_close(in_two_parts(), model(ids).logits[:, 9:], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("method", [Everything(), SinksAndWindow()])
@pytest.mark.parametrize("dense_below", [0, 1000])
def test_a_cache_that_no_plan_has_seen_is_refused(load: Load, method: Any, dense_below: int) -> None:
    model, processor = load("qwen2")
    ids = text_prompt(processor)["input_ids"]
    past = require("transformers", "models").DynamicCache(config=model.config)
    with torch.inference_mode():
        name = "cache" if hasattr(model(ids[:, :2]), "cache") else "past_key_values"
        model(ids[:, :9], **{name: past})
        with enable(model, method, dense_below=dense_below), pytest.raises(InputError, match="filled before"):
            model(ids[:, 9:], **{name: past})


# ---- undone, and refused --------------------------------------------------------------------------------------------


def test_everything_is_undone_also_after_an_error(load: Load) -> None:
    model, processor = load("qwen2_5_vl")
    text = model.config.text_config
    before = {key: getattr(model.config, key)._attn_implementation for key in model.config.sub_configs}
    configs = {name: id(module.config) for name, module in model.named_modules() if hasattr(module, "config")}
    keys = set(vars(model))

    def fail_in_between() -> None:
        with enable(model, SinksAndWindow(), layers=[1], dense_below=0):
            assert text._attn_implementation != before["text_config"]
            assert model.config.vision_config._attn_implementation == before["vision_config"]
            assert hooks_of(model)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_between()
    after = {key: getattr(model.config, key)._attn_implementation for key in model.config.sub_configs}
    assert after == before
    assert {name: id(module.config) for name, module in model.named_modules() if hasattr(module, "config")} == configs
    assert set(vars(model)) == keys
    assert not hooks_of(model)
    said = written(model, video_prompt(processor), 1, return_dict_in_generate=True)
    cache = said.past_key_values if hasattr(said, "past_key_values") else said.cache
    assert not any(isinstance(layer, layer_class()) for layer in cache.layers)
    plug = enable(model, Everything())
    plug.disable()
    plug.disable()
    assert text._attn_implementation == before["text_config"]


def test_a_model_is_served_once(load: Load) -> None:
    model, _ = load("qwen2")
    with enable(model, Everything()), pytest.raises(UsageError, match="already"):
        enable(model, Everything())
    with pytest.raises(UsageError, match=r"layer 7 cannot be served: there are 2 layers"):
        enable(model, Everything(), layers=[0, 7])
    with pytest.raises(UsageError, match="takes no settings"):
        enable(model, Everything(), window=3)
    with pytest.raises(UsageError, match="numbers of tokens"):
        enable(model, Everything(), sinks=-1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_beams": 2}, "reordered for beams"),
        ({"cache_implementation": "static"}, "leave out cache_implementation"),
        ({"prompt_lookup_num_tokens": 2}, "crop|shortened"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions"),
    ],
)
def test_ways_to_decode_that_a_reduced_cache_cannot_go_are_refused(
    load: Load, options: dict[str, Any], reason: str
) -> None:
    model, processor = load("qwen2_5_vl")
    with (
        enable(model, SinksAndWindow(), dense_below=0),
        pytest.raises((InputError, ValueError, ImportError), match=reason),
    ):
        written(model, text_prompt(processor), 4, **options)


def test_padding_between_tokens_is_refused(load: Load) -> None:
    model, processor = load("qwen2")
    inputs = text_prompt(processor)
    inputs["attention_mask"][0, 3] = 0
    with enable(model, Everything(), dense_below=0), pytest.raises(ShapeError, match="padding between"):
        written(model, inputs, 1)


def test_pictures_that_see_each_other_are_refused(load: Load) -> None:
    model, processor = load("gemma3")
    inputs = text_prompt(processor)
    with enable(model, Everything(), dense_below=0) as plug:
        assert [(one.index, one.reason) for one in plug.left_layers] == [(0, "sliding attention")]
        with pytest.raises(InputError, match="not simply causal"):
            written(model, inputs, 1)


def test_models_without_a_layer_that_can_be_served_are_named_with_all_reasons() -> None:
    transformers = require("transformers", "models")
    mla = transformers.DeepseekV3Config(
        **TINY,
        num_hidden_layers=2,
        first_k_dense_replace=2,
        q_lora_rank=None,
        kv_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=16,
    )
    model = transformers.DeepseekV3ForCausalLM(mla)
    with pytest.raises(BackendUnavailableError, match=r"layers 0, 1: keys and values are made of one latent \(MLA\)"):
        enable(model, Everything())
    assert not hooks_of(model)
    sliding = transformers.Qwen2Config(
        **TINY,
        num_hidden_layers=3,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=0,
    )
    with pytest.raises(BackendUnavailableError, match="layers 0, 1, 2: sliding attention"):
        enable(transformers.Qwen2ForCausalLM(sliding), Everything())
    apart = transformers.GlmConfig(**TINY, num_hidden_layers=1, head_dim=16, pad_token_id=0)
    with pytest.raises(BackendUnavailableError, match="layer 0: its rotary embedding is not one of two halves"):
        enable(transformers.GlmForCausalLM(apart), Everything())
    capped = transformers.Gemma2Config(**TINY, num_hidden_layers=2, head_dim=16, layer_types=["full_attention"] * 2)
    with pytest.raises(BackendUnavailableError, match="layers 0, 1: its logits are capped"):
        enable(transformers.Gemma2ForCausalLM(capped), Everything())
    by_itself = transformers.MptForCausalLM(transformers.MptConfig(d_model=32, n_heads=2, n_layers=1, vocab_size=32))
    with pytest.raises(BackendUnavailableError, match="MptForCausalLM computes attention by itself"):
        enable(by_itself, Everything())
    with pytest.raises(UsageError, match="wanted a model of transformers"):
        enable(torch.nn.Linear(2, 2), Everything())

"""The same meaning on every back end: hand-made cases, agreement with float64, and what must never happen."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdvs.errors import BackendUnavailableError, ShapeError, UnknownBackendError
from fdvs.kernels import flex, reference
from fdvs.kernels.backends import attend, choose, plan_unless_short
from fdvs.kernels.choice import DENSE_BELOW
from fdvs.kernels.columns import compact
from fdvs.kernels.gather import GatherOps
from fdvs.kernels.layout import Layout
from fdvs.kernels.masked import masked_attention
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.names import open_ops
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, Tiles, dense_plan
from fdvs.kernels.samples import PLAN_KINDS, Sample, Shape, random_qkv, sample
from fdvs.kernels.tolerance import judge
from tests.kernels.inputs import sdpa_causal

HAS_TRITON = importlib.util.find_spec("triton") is not None
PATHS: dict[str, Ops] = {
    "reference": open_ops("reference"),
    "gather": GatherOps(query_rows=32),
    "gather_plain": GatherOps(query_rows=32, is_fused=False),
    "flex_eager": open_ops("flex_eager"),
}
DEVICES = {"triton": "cpu"}
if HAS_TRITON:
    from fdvs.kernels.triton.launch import IS_INTERPRETED

    PATHS["triton"] = open_ops("triton")
    DEVICES["triton"] = "cpu" if IS_INTERPRETED else "cuda"
FEW = (Shape(2, 8, 2, 5, 17, 64, 32), Shape(1, 4, 1, 17, 111, 80))
every_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(autouse=True)
def _new_tensors_are_full_of_nan() -> Iterator[None]:
    """What a back end forgets to write is not zero by chance."""
    # In this mode torch.empty fills with NaN. The public function loads the compiler, which takes seconds.
    torch._C._set_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch._C._set_deterministic_algorithms(False)


def assert_agrees(path: str, call: Sample, dtype: torch.dtype) -> None:
    low = call.to(dtype=dtype)
    there = low.to(device=DEVICES.get(path, "cpu"))
    precise = low.to(dtype=torch.float64)
    got = PATHS[path].attend(there.q, there.k, there.v, there.plan)
    truth = reference.attend(precise.q, precise.k, precise.v, precise.plan)
    plain = reference.attend_in(dtype, low.q, low.k, low.v, low.plan)
    assert got.out.dtype == dtype
    for name in ("out", "lse"):
        verdict = judge(name, getattr(got, name), getattr(truth, name), getattr(plain, name), dtype)
        assert verdict.is_right, verdict.reason


@every_path
def test_a_hand_made_case(path: str) -> None:
    """Two keys of the band, one entry for three equal tokens, one that is not seen yet, one kept tile."""
    one, log2 = torch.ones(1, 1, 1, 16), math.log(2)
    q = one / 16
    k = torch.cat([one * 0, one * log2, one * log2, one * 0], dim=2)  # logits 0, log 2, log 2, 0
    v = torch.cat([one * 1, one * 2, one * 3, one * 4], dim=2)
    pooled = Entries(
        torch.cat([one * 0, one * 9], dim=2),
        torch.cat([one * 10, one * 99], dim=2),
        torch.tensor([[[0, 2]]]),
        torch.tensor([[[math.log(3), 0.0]]]),
    )
    tiles = Tiles(torch.tensor([[[[True, False]]]]), 1, 2)
    plan = Plan(torch.tensor([3]), torch.tensor([[[2]]]), pooled, None, tiles)
    out, lse = PATHS[path].attend(q, k, v, plan, scale=1.0)
    # weights: entry 3, tile of keys 0 and 1: 1 and 2, band of keys 2 and 3: 2 and 1
    assert out[0, 0, 0].tolist() == pytest.approx([(3 * 10 + 1 * 1 + 2 * 2 + 2 * 3 + 1 * 4) / 9] * 16, rel=1e-5)
    assert float(lse) == pytest.approx(math.log(9), rel=1e-5)


@every_path
@pytest.mark.parametrize("kind", PLAN_KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_plans_of_every_kind_agree_with_float64(path: str, kind: str, dtype: torch.dtype) -> None:
    if path == "flex_eager" and dtype != torch.float32:
        pytest.skip("a compilation each, and the arithmetic is PyTorch's")
    assert_agrees(path, sample(kind, Shape(1, 2, 1, 63, 63, 32)), dtype)


@every_path
@pytest.mark.parametrize(
    "shape",
    [
        Shape(1, 1, 1, 1, 1, 32),
        Shape(1, 7, 1, 1, 111, 32),
        Shape(2, 4, 4, 5, 63, 64),
        Shape(1, 4, 1, 17, 111, 80),
        Shape(1, 8, 1, 33, 33, 96),
        Shape(1, 2, 1, 16, 40, 128),
        Shape(2, 8, 2, 5, 17, 64, 32),
        Shape(1, 2, 1, 7, 40, 32, 80),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["both", "permuted"])
def test_odd_shapes_agree_with_float64(path: str, kind: str, shape: Shape) -> None:
    if path == "flex_eager" and shape not in FEW:
        pytest.skip("a compilation each, and the arithmetic is PyTorch's")
    assert_agrees(path, sample(kind, shape, block_q=5, block_k=7), torch.float32)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's compiler uses what PyTorch deprecates
def test_compiled_flex_attention_agrees_with_float64() -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    call = sample("pooled", Shape(1, 4, 2, 33, 40, 32)).to(dtype=torch.float32)
    got = open_ops("flex").attend(call.q, call.k, call.v, call.plan)
    truth = reference.attend(call.q, call.k, call.v, call.plan)
    torch.testing.assert_close(got.out, truth.out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.lse, truth.lse, atol=1e-5, rtol=1e-5)


def test_flex_attention_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    flex._compiled.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    call = sample("band", Shape()).to(dtype=torch.float32)
    with pytest.raises(BackendUnavailableError, match=r"no C\+\+ compiler here; install one, or ask for .* flex_eager"):
        attend(call.q, call.k, call.v, call.plan, backend="flex")


@st.composite
def calls(draw: st.DrawFn, longest: int) -> Sample:
    """Any shape, any kind of plan, any size of tiles."""
    groups, heads_k = draw(st.sampled_from([1, 2, 4, 7, 8])), draw(st.integers(1, 2))
    num_k = draw(st.integers(1, longest))
    shape = Shape(
        draw(st.integers(1, 2)),
        groups * heads_k,
        heads_k,
        draw(st.integers(1, num_k)),
        num_k,
        16,
        draw(st.integers(1, 24)),
    )
    block_q, block_k = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    return sample(draw(st.sampled_from(PLAN_KINDS)), shape, draw(st.integers(0, 99)), block_q=block_q, block_k=block_k)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls(70), rows=st.integers(1, 80), is_fused=st.booleans())
def test_gathering_is_the_reference_for_any_shape(call: Sample, rows: int, is_fused: bool) -> None:
    got = GatherOps(query_rows=rows, is_fused=is_fused).attend(call.q, call.k, call.v, call.plan)
    torch.testing.assert_close(got, reference.attend(call.q, call.k, call.v, call.plan), atol=1e-11, rtol=1e-11)


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls(40))
def test_triton_is_the_reference_for_any_shape(call: Sample) -> None:
    low = call.to(dtype=torch.float32)
    there = low.to(device=DEVICES["triton"])
    got = PATHS["triton"].attend(there.q, there.k, there.v, there.plan)
    truth = reference.attend(low.q, low.k, low.v, low.plan)
    torch.testing.assert_close(got.out.cpu(), truth.out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.lse.cpu(), truth.lse, atol=1e-5, rtol=1e-5)


@every_path
@pytest.mark.parametrize("length", [1, 5, 63])
def test_a_band_from_the_start_is_causal_attention(path: str, length: int) -> None:
    q, k, v = (x.float() for x in random_qkv(Shape(2, 4, 2, length, length, 32)))
    out, _ = PATHS[path].attend(q, k, v, dense_plan(length, length))
    torch.testing.assert_close(out, sdpa_causal(q, k, v), atol=1e-5, rtol=1e-5)


@every_path
def test_rows_that_see_nothing_are_zero(path: str) -> None:
    call = sample("blind", Shape(num_q=33, num_k=40)).to(dtype=torch.float32)
    out, lse = PATHS[path].attend(call.q, call.k, call.v, call.plan)
    is_blind = call.plan.q_positions % 3 == 0
    assert not out[:, :, is_blind].any()
    assert lse[:, :, is_blind].isneginf().all()
    assert lse[:, :, ~is_blind].isfinite().all()


@pytest.mark.parametrize("path", sorted({"gather", "gather_plain", "triton"} & PATHS.keys()))
def test_what_no_query_of_a_tile_sees_is_not_even_loaded(path: str) -> None:
    """NaN times a weight of zero would be NaN: keys before all bands, entries after all of them, tiles out of sight."""
    call = sample("selected", Shape(num_q=16, num_k=160)).to(dtype=torch.float32, device=DEVICES.get(path, "cpu"))
    plan, k, v = call.plan, call.k.clone(), call.v.clone()
    assert plan.selected is not None
    first = int(plan.band_start.min()) // 64 * 64  # a tile of keys begins at a multiple of its size
    assert first >= 64
    k[:, :, :first] = v[:, :, :first] = torch.nan
    late = Entries(torch.full_like(k, torch.nan), torch.full_like(v, torch.nan), torch.full_like(k[..., 0], 999).long())
    keep = torch.zeros(1, 1, 1, 3, dtype=torch.bool, device=k.device)
    keep[..., 2] = True  # keys 128 to 159, in sight of no query
    tiles = Tiles(keep, 16, 64)
    plan = replace(plan, pooled=late, tiles=tiles, band_start=plan.band_start.clamp_max(128))
    truth = PATHS[path].attend(call.q, call.k, call.v, replace(plan, pooled=None, tiles=None))
    got = PATHS[path].attend(call.q, k, v, plan)
    torch.testing.assert_close(got, truth)


@every_path
def test_nothing_at_all_is_seen_without_keys(path: str) -> None:
    q, k, v = (x.float() for x in random_qkv(Shape(num_q=3, num_k=3)))
    plan = Plan(torch.arange(3), torch.full((1, 1, 3), NEVER))
    for keys in (0, 3):
        out, lse = PATHS[path].attend(q, k[:, :, :keys], v[:, :, :keys], plan)
        assert not out.any()
        assert lse.isneginf().all()


@every_path
@pytest.mark.parametrize("heads", [(1, 1), (4, 1), (7, 1), (16, 2)])
def test_decoding_agrees_with_float64(path: str, heads: tuple[int, int]) -> None:
    _, k, v = (x.float() for x in random_qkv(Shape(2, heads[1], heads[1], 90, 90, 64)))
    q = random_qkv(Shape(2, *heads, 2, 2, 64), seed=5)[0].float()
    bias = torch.rand(2, heads[1], 63)
    positions = torch.arange(63).expand(2, heads[1], -1).clone()
    positions[0, :, 40:] = NEVER
    pooled = Entries(k[:, :, :63], v[:, :, :63], positions, bias)
    segments = [pooled, compact(k, v, torch.arange(70, 90).expand(2, heads[1], -1))]
    nothing = compact(k, v, torch.zeros(2, heads[1], 0, dtype=torch.int64))
    got = PATHS[path].decode(q, [nothing, *segments])
    doubled = [Entries(part.k.double(), part.v.double(), part.last, part.bias) for part in segments]
    truth, plain = reference.decode(q.double(), doubled), reference.decode(q, segments)
    for name in ("out", "lse"):
        verdict = judge(name, getattr(got, name), getattr(truth, name), getattr(plain, name), torch.float32)
        assert verdict.is_right, verdict.reason


@every_path
def test_segments_that_do_not_fit_are_refused(path: str) -> None:
    q, k, v = (x.float() for x in random_qkv(Shape(1, 4, 2, 1, 5, 32)))
    some = compact(k, v, torch.arange(5).expand(1, 2, -1))
    with pytest.raises(ShapeError, match="at least one segment"):
        PATHS[path].decode(q, [])
    with pytest.raises(ShapeError, match="query heads that are a multiple of 2, got 3"):
        PATHS[path].decode(q[:, :3], [some])
    with pytest.raises(ShapeError, match=r"wanted keys \[1, 2, M, 16\], got \[1, 2, 5, 32\]"):
        PATHS[path].decode(q[..., :16], [some])
    with pytest.raises(ShapeError, match=r"wanted values \[1, 2, M, 32\]"):
        PATHS[path].decode(q, [some, Entries(some.k, some.v[..., :8], some.last)])


@every_path
def test_decoding_over_padding_alone_is_zero(path: str) -> None:
    q, k, v = (x.float() for x in random_qkv(Shape(num_q=1, num_k=4)))
    out, lse = PATHS[path].decode(q, [compact(k, v, torch.full((1, 1, 3), NEVER))])
    assert not out.any()
    assert lse.isneginf().all()


@every_path
def test_merging_two_halves_gives_the_whole(path: str) -> None:
    ops = PATHS[path]
    q, k, v = (x.float() for x in random_qkv(Shape(2, 4, 2, 1, 40, 32)))
    every = torch.arange(40).expand(2, 2, -1)
    parts = [ops.decode(q, [compact(k, v, part)]) for part in (every[..., :13], every[..., 13:])]
    blind = Attended(torch.zeros_like(parts[0].out), torch.full_like(parts[0].lse, -torch.inf))
    whole, merged = ops.decode(q, [compact(k, v, every)]), ops.merge([*parts, blind])
    torch.testing.assert_close(merged.out, whole.out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(merged.lse, whole.lse, atol=1e-5, rtol=1e-5)
    nothing = ops.merge([blind, blind])
    assert not nothing.out.any()
    assert nothing.lse.isneginf().all()


def test_tiles_of_queries_shrink_before_memory_grows() -> None:
    call = sample("both", Shape(1, 4, 2, 40, 40, 16))
    whole = GatherOps().attend(call.q, call.k, call.v, call.plan)
    narrow = GatherOps(max_elements=1).attend(call.q, call.k, call.v, call.plan)
    torch.testing.assert_close(narrow.out, whole.out)
    torch.testing.assert_close(narrow.lse, whole.lse)


def test_a_mask_that_hides_everything_is_no_division_by_zero() -> None:
    q, k, v = random_qkv(Shape(num_q=2, num_k=3))
    for is_fused in (False, True):
        out, lse = masked_attention(q, k, v, torch.full((1, 1, 1, 3), -torch.inf).double(), scale=1, is_fused=is_fused)
        assert not out.any()
        assert lse.isneginf().all()


def test_the_door_says_what_auto_is_and_why() -> None:
    call = sample("pooled", Shape()).to(dtype=torch.float32)
    chosen = choose(call.q)
    assert chosen.name == "gather"
    assert "CPU" in chosen.reason
    torch.testing.assert_close(
        attend(call.q, call.k, call.v, call.plan).out,
        attend(call.q, call.k, call.v, call.plan, backend="reference").out,
        atol=1e-5,
        rtol=1e-5,
    )
    with pytest.raises(UnknownBackendError, match="known: auto, flex"):
        attend(call.q, call.k, call.v, call.plan, backend="fastest")


def test_short_prompts_are_attended_to_densely_and_it_is_said() -> None:
    class Window:
        name = "window"
        is_causal = True

        def plan(self, prompt: Prompt) -> Plan:
            return Plan(prompt.q_positions, prompt.q_positions[None, None])

        def cache(self) -> None:
            return None

    q, k, v = random_qkv(Shape(num_q=5, num_k=9))
    prompt = Prompt(q, k, v, Layout(9))
    short = plan_unless_short(Window(), prompt)
    assert short.is_dense
    assert f"9 tokens are fewer than {DENSE_BELOW}" in short.reason
    assert not short.plan.band_start.any()
    long = plan_unless_short(Window(), prompt, dense_below=9)
    assert not long.is_dense
    assert long.plan.band_start[0, 0].tolist() == [4, 5, 6, 7, 8]

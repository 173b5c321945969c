"""Where scenes, chapters and parts begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fdvs.records import Level, Span
from fdvs.settings import StorySettings
from fdvs.stories.segments import Bounds, Layer, find_peaks, plan_layers, split
from fdvs.stories.signals import Signals, boundary_strengths, mean_and_deviation
from tests.stories.films import build, film, picture

DEFAULT = StorySettings()


def edges(n: int, clip_ms: int = 10_000) -> NDArray[np.int64]:
    return np.arange(n + 1, dtype=np.int64) * clip_ms


def signals(directions: Sequence[int], *, noise: float = 0.0, clip_ms: int = 10_000) -> Signals:
    """Clips whose pictures point where told, with a little noise of their own."""
    rows = np.stack([picture(direction, noise, seed) for seed, direction in enumerate(directions)])
    return Signals(edges(len(directions), clip_ms), rows, None)


def starts_ms(layers: list[Layer], level: Level, clip_ms: int = 10_000) -> list[int]:
    """Start times of the nodes of one level, for clips of equal length."""
    firsts = list(range(10**6))
    for layer in layers:
        firsts = [firsts[group.start] for group in layer.groups]
        if layer.level is level:
            return [first * clip_ms for first in firsts]
    return []


def test_scenes_are_cut_where_the_picture_changes() -> None:
    layers = plan_layers(signals([0] * 6 + [1] * 5 + [2] * 7), DEFAULT)
    assert starts_ms(layers, Level.SCENE) == [0, 60_000, 110_000]


def test_shot_and_reverse_shot_are_one_scene() -> None:
    talk = [0, 1, 0, 1, 0, 1, 0, 1]
    elsewhere = [5, 6, 5, 6, 5, 6, 5, 6]
    assert starts_ms(plan_layers(signals(talk + elsewhere), DEFAULT), Level.SCENE) == [0, 80_000]


def test_in_a_film_of_different_shots_every_shot_is_a_scene() -> None:
    layers = plan_layers(signals([0, 1, 2, 3, 4, 5]), DEFAULT)
    assert starts_ms(layers, Level.SCENE) == [0, 10_000, 20_000, 30_000, 40_000, 50_000]


def test_noise_in_a_static_film_is_no_scene_change() -> None:
    layers = plan_layers(signals([0] * 20, noise=0.002), DEFAULT)
    assert starts_ms(layers, Level.SCENE) == [0]


def test_a_small_change_counts_in_a_film_without_large_ones() -> None:
    still, changed = picture(0), picture(0) + 0.2 * picture(1)
    rows = np.stack([still] * 8 + [changed / np.linalg.norm(changed)] * 8)
    layers = plan_layers(Signals(edges(16), rows, None), DEFAULT)
    assert starts_ms(layers, Level.SCENE) == [0, 80_000]


def test_silence_in_speech_cuts_where_nothing_else_does() -> None:
    speech = tuple(Span(i * 1000, i * 1000 + 1000) for i in range(60)) + tuple(
        Span(i * 1000, i * 1000 + 1000) for i in range(70, 120)
    )
    strengths = boundary_strengths(Signals(edges(12), None, None, speech), 3)
    assert strengths.tolist() == [0, 0, 0, 0, 0, 0, 1000, 1000, 0, 0, 0, 0]


def test_what_one_side_lacks_has_no_vote() -> None:
    rows = np.stack([picture(0), np.zeros(32), np.zeros(32), np.zeros(32), np.zeros(32)]).astype(np.float32)
    strengths = boundary_strengths(Signals(edges(5), rows, None), 3)
    assert strengths.tolist() == [0, 0, 0, 0, 0]


def test_a_missing_signal_does_not_weaken_the_others() -> None:
    pictures = np.stack([picture(i // 3) for i in range(6)])
    words = np.stack([picture(9)] * 3 + [np.zeros(32, dtype=np.float32)] * 3)
    strengths = boundary_strengths(Signals(edges(6), pictures, words), 3)
    assert strengths[3] == 1000


def test_wording_of_measured_facts_is_no_second_witness() -> None:
    texts = ["Red on the left.", "Large blue areas."] * 3 + ["Noise over everything.", "Strong flicker."] * 3
    measured = build(film(texts, pictures=lambda _: picture(0), backend="builtin"))
    worded = build(film(texts, pictures=lambda _: picture(0), backend="model"))
    scenes = [sum(node.level is Level.SCENE for node in story.nodes) for story in (measured, worded)]
    assert scenes[0] == 1 < scenes[1]


def test_higher_sensitivity_never_finds_fewer_peaks() -> None:
    strengths = np.array([0, 300, 100, 500, 100, 800, 100, 400, 100, 900, 50], dtype=np.int64)
    found = [find_peaks(strengths, edges(11), Bounds(24), s) for s in (0, 0.5, 1.0, 4.0)]
    assert found[0] == []
    assert found[2] == [5, 9]
    assert all(set(a) <= set(b) for a, b in pairwise(found))


def test_of_two_near_peaks_the_stronger_is_kept_and_of_equals_the_earlier() -> None:
    strengths = np.array([0, 0, 700, 0, 900, 0, 0, 900, 0, 900, 0, 0], dtype=np.int64)
    found = find_peaks(strengths, edges(12), Bounds(24, min_ms=25_000), 100.0)
    assert found == [4, 7]


def test_a_group_is_split_at_its_strongest_inner_border_and_ties_in_the_middle() -> None:
    strengths = np.array([0, 999, 10, 10, 70, 10, 10, 10], dtype=np.int64)
    assert split(strengths, edges(8), [], Bounds(4)) == [range(4), range(4, 8)]
    flat = np.zeros(8, dtype=np.int64)
    assert split(flat, edges(8), [], Bounds(4)) == [range(4), range(4, 8)]
    assert split(flat, edges(8), [], Bounds(24, max_ms=30_000)) == [range(i, i + 2) for i in (0, 2, 4, 6)]


def test_an_item_longer_than_allowed_stays_whole() -> None:
    long = np.array([0, 500_000, 510_000], dtype=np.int64)
    assert split(np.zeros(2, dtype=np.int64), long, [], Bounds(24, max_ms=300_000)) == [range(1), range(1, 2)]


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=200),
    st.integers(2, 24),
    st.integers(1, 400_000),
)
def test_splitting_keeps_order_and_bounds(values: list[int], max_children: int, max_ms: int) -> None:
    strengths, borders = np.array(values, dtype=np.int64), edges(len(values))
    groups = split(strengths, borders, [], Bounds(max_children, max_ms))
    assert [i for group in groups for i in group] == list(range(len(values)))
    assert all(len(group) <= max_children for group in groups)
    assert all(len(group) == 1 or len(group) * 10_000 <= max_ms for group in groups)


@pytest.mark.parametrize(("hours", "clip_s"), [(3, 10), (10, 10), (3, 2)])
def test_hours_of_a_static_film_have_parts(hours: int, clip_s: int) -> None:
    n = hours * 3600 // clip_s
    layers = plan_layers(signals([0] * n, noise=0.001, clip_ms=clip_s * 1000), DEFAULT)
    assert [layer.level for layer in layers] == [Level.SCENE, Level.CHAPTER, Level.PART, Level.VIDEO]
    assert all(len(group) <= 24 for layer in layers for group in layer.groups)
    assert all(len(layers[0].groups) > len(layer.groups) for layer in layers[2:])


def test_chapters_are_never_longer_than_set() -> None:
    sig = signals([i // 9 for i in range(400)])
    for max_s in (60.0, 300.0):
        layers = plan_layers(sig, replace(DEFAULT, max_chapter_s=max_s))
        begin = [*starts_ms(layers, Level.CHAPTER), 4_000_000]
        assert max(b - a for a, b in pairwise(begin)) <= max_s * 1000


def test_a_hundred_hours_fit_under_one_layer_of_parts() -> None:
    n = 36_000
    rng = np.random.default_rng(0)
    scene_of = np.cumsum(rng.random(n) < 0.1)
    rows = np.eye(32, dtype=np.float32)[scene_of * 7 % 32] + 0.05 * rng.normal(size=(n, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    layers = plan_layers(Signals(edges(n), rows, None), DEFAULT)
    assert [layer.level for layer in layers] == [Level.SCENE, Level.CHAPTER, Level.PART, Level.VIDEO]
    assert all(len(group) <= 24 for layer in layers for group in layer.groups)


@pytest.mark.parametrize(
    ("n", "levels"),
    [(1, ["chapter", "video"]), (24, ["chapter", "video"]), (25, ["chapter", "part", "video"]),
     (2000, ["chapter", "part", "part", "video"])],
)  # fmt: skip
def test_paper_has_a_chapter_per_clip_and_parts_above_the_fan_out(n: int, levels: list[str]) -> None:
    layers = plan_layers(signals([i % 5 for i in range(n)]), replace(DEFAULT, levels="paper"))
    assert [str(layer.level) for layer in layers] == levels
    assert len(layers[0].groups) == n


def test_last_bits_of_a_float_change_no_border() -> None:
    base = signals([i // 5 for i in range(60)], noise=0.05)
    assert base.picture is not None
    shaken = replace(base, picture=np.nextafter(base.picture, np.float32(2)))
    assert plan_layers(base, DEFAULT) == plan_layers(shaken, DEFAULT)


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_mean_and_deviation_are_exact_whatever_the_order(values: list[int]) -> None:
    mean, deviation = mean_and_deviation(np.array(values, dtype=np.int64))
    assert (mean, deviation) == mean_and_deviation(np.array(values[::-1], dtype=np.int64))
    if values:
        assert mean == pytest.approx(np.mean(values))
        assert deviation == pytest.approx(np.std(values), abs=1e-9)


@pytest.mark.parametrize("block", [1, 2, 5, 7, 100])
def test_borders_are_the_same_however_many_are_compared_at_once(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rows = np.stack([picture(i // 7, 0.3, i) for i in range(60)])
    rows[11] = 0  # a clip without a picture
    one = Signals(edges(60), rows, None)
    groups = [range(0, 1), range(1, 20), range(20, 22), range(22, 60)]
    wanted, merged = [boundary_strengths(one, window) for window in (1, 2, 3)], one.merged(groups).picture
    assert merged is not None
    lone = np.stack([rows[group].sum(axis=0) for group in groups])
    assert np.allclose(merged, lone / np.linalg.norm(lone, axis=1, keepdims=True), atol=1e-6)

    monkeypatch.setattr("fdvs.stories.signals._BLOCK", block)

    for window, strengths in zip((1, 2, 3), wanted, strict=True):
        assert boundary_strengths(one, window).tolist() == strengths.tolist()
    again = one.merged(groups).picture
    assert again is not None
    assert again.tolist() == merged.tolist()

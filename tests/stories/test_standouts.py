"""What stands out: said of one scene each, only where it is clear, and taken up by titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fdvs.captioners.facts import Change
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.standouts import standouts
from tests.stories.films import facts, measured

SCENES = [range(i, i + 1) for i in range(6)]


def film(lights: Sequence[float], shares: Sequence[float], cuts: Sequence[int] = (0,) * 6) -> list[ClipEvidence]:
    """One scene per clip, with its light, how much of it moves and how many cuts it has."""
    clips = measured(
        [
            lambda clip, share=share, num=num: facts(  # type: ignore[misc]
                clip, [Change.CUT] * num + [Change.MOTION] * (8 - num), share=share
            )
            for share, num in zip(shares, cuts, strict=True)
        ]
    )
    lit = zip(clips, lights, strict=True)
    return [
        replace(one, facts=replace(one.facts, light=(light,) * 9)) if one.facts is not None else one
        for one, light in lit
    ]


def clauses(clips: Sequence[ClipEvidence], scenes: Sequence[range] = SCENES) -> dict[int, str]:
    return {at: one.clause for at, one in standouts(clips, scenes).items()}


def test_the_darkest_and_the_brightest_scene_stand_out() -> None:
    clips = film([0.5, 0.1, 0.5, 0.8, 0.5, 0.5], [0.2] * 6)
    assert clauses(clips) == {1: "nothing else is so dark", 3: "nothing else is so bright"}


def test_where_most_and_least_moves_stands_out() -> None:
    clips = film([0.5] * 6, [0.2, 0.2, 0.6, 0.2, 0.05, 0.2])
    assert clauses(clips) == {2: "nowhere else does so much move", 4: "nowhere else does so little move"}


def test_fast_cuts_stand_out_and_two_alike_do_not() -> None:
    assert clauses(film([0.5] * 6, [0.2] * 6, (0, 0, 0, 6, 0, 0)))[3] == "nowhere else do cuts come so fast"
    assert not any("cuts" in text for text in clauses(film([0.5] * 6, [0.2] * 6, (0, 6, 0, 6, 0, 0))).values())


def test_where_the_camera_moves_nothing_is_at_rest() -> None:
    clips = film([0.5] * 6, [0.2, 0.2, 0.2, 0.2, 0.05, 0.2])
    moved = [
        replace(one, facts=replace(one.facts, camera=("pan left",))) if i == 4 and one.facts is not None else one
        for i, one in enumerate(clips)
    ]
    assert clauses(clips) == {4: "nowhere else does so little move"}
    assert clauses(moved) == {}


def test_nothing_is_said_of_few_scenes_or_where_some_were_not_measured() -> None:
    clips = film([0.5, 0.1, 0.5, 0.8, 0.5, 0.5], [0.2] * 6)
    assert not clauses(clips, [range(3), range(3, 6)])
    assert not clauses([replace(clips[0], facts=None), *clips[1:]])

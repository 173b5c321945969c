"""Textual redundancy on vectors small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.errors import InputError, ShapeError
from fdvs.redundancy.textual import Reduction, Removal, TextRule, history_cosines, reduce_units
from fdvs.settings import TextMode

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
PAPER: tuple[TextMode, ...] = ("adaptive_causal", "paper_literal", "fixed_threshold")
ALL: tuple[TextMode, ...] = ("none", "exact", "guard", "greedy", *PAPER)


def unit_rows(*rows: Sequence[float]) -> NDArray[np.float32]:
    vectors = np.asarray(rows, np.float64)
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def reduced(mode: TextMode, *rows: Sequence[float], memory: int = 35, threshold: float = 0.0) -> Reduction:
    stems = [[str(row)] for row in rows]
    return reduce_units(stems, unit_rows(*rows), TextRule(mode, threshold, memory))


def gone(reduction: Reduction) -> list[tuple[int, int]]:
    return [(removal.unit, removal.neighbour) for removal in reduction.removed]


# ---- the paper's rules ----------------------------------------------------------------------------------------


def test_equal_chapters_all_stay_because_none_lies_above_the_mean() -> None:
    for mode in ("adaptive_causal", "paper_literal"):
        assert reduced(mode, *[EAST] * 6).kept == tuple(range(6))


def test_equal_chapters_go_where_the_threshold_is_fixed() -> None:
    found = reduced("fixed_threshold", *[EAST] * 4)
    assert (found.kept, found.multiplicity) == ((0,), (4,))
    assert gone(found) == [(1, 0), (2, 0), (3, 0)]


def test_three_equal_chapters_and_another_by_hand() -> None:
    # Histories A, A, A: cosines 1, 1, 0; mean 2/3. With itself: 1, 1 and (A+A+A+B)·B = 1/√10; mean 0.772.
    rows = (EAST, EAST, EAST, NORTH)
    assert history_cosines(unit_rows(*rows), 35, with_itself=False) == [0.0, 1.0, 1.0, 0.0]
    assert history_cosines(unit_rows(*rows), 35, with_itself=True) == [1.0, 1.0, 1.0, 0.316]
    for mode in PAPER:
        found = reduced(mode, *rows)
        assert gone(found) == [(1, 0), (2, 0)]
        assert (found.kept, found.multiplicity) == ((0, 3), (3, 1))
        assert {removal.rule for removal in found.removed} == {mode}


def test_the_history_reaches_back_as_far_as_the_memory() -> None:
    rows = unit_rows(EAST, EAST, NORTH, NORTH)
    assert history_cosines(rows, 1, with_itself=False) == [0.0, 1.0, 0.0, 1.0]
    assert history_cosines(rows, 2, with_itself=False) == [0.0, 1.0, 0.0, 0.707]
    assert history_cosines(rows, 3, with_itself=False) == [0.0, 1.0, 0.0, 0.447]  # (2, 1)·(0, 1)/√5
    # Printed bounds: from i − l to i, which are l + 1 chapters.
    assert history_cosines(rows, 1, with_itself=True) == [1.0, 1.0, 0.707, 1.0]


def test_the_history_holds_what_was_removed_too() -> None:
    # The second East goes; beside (East, East) North-East still has 0.707, beside one East and itself it would not.
    cosines = history_cosines(unit_rows(EAST, EAST, (1.0, 1.0)), 35, with_itself=False)
    assert cosines == [0.0, 1.0, 0.707]


def test_a_removed_chapter_points_to_the_most_similar_kept_one() -> None:
    found = reduced("adaptive_causal", EAST, NORTH, (0.1, 1.0), (1.0, 0.1))
    # Cosines 0; 0.774 = (1, 1)·(0.1, 1)/(√2·1.005); (1.1, 2)·(1, 0.1)/…: the third goes, and its like is North.
    assert found.removed[0] == Removal(2, 1, 0.995, "adaptive_causal")


@pytest.mark.parametrize("mode", ALL)
def test_the_first_unit_stays_and_something_is_always_kept(mode: TextMode) -> None:
    generator = np.random.default_rng(7)
    for count in (1, 2, 3, 40):
        rows = generator.normal(size=(count, 3)) + 2.0
        found = reduced(mode, *rows.tolist(), memory=4)
        assert found.kept[0] == 0
        assert sorted([*found.kept, *(removal.unit for removal in found.removed)]) == list(range(count))
        assert sum(found.multiplicity) == count
        assert {removal.neighbour for removal in found.removed} <= set(found.kept)


@pytest.mark.parametrize("mode", ALL)
def test_nothing_gives_nothing(mode: TextMode) -> None:
    assert reduce_units([], np.zeros((0, 3), np.float32), TextRule(mode)) == Reduction((), (), ())


# ---- exact, guard, greedy -------------------------------------------------------------------------------------


def test_exact_wants_the_same_stems_in_the_same_order() -> None:
    stems = [["dog", "bite", "man"], ["man", "bite", "dog"], ["dog", "bite", "man"]]
    found = reduce_units(stems, None, TextRule("exact"))
    assert found == Reduction((0, 1), (Removal(2, 0, 1.0, "exact"),), (2, 1))


def test_greedy_compares_with_every_kept_unit_and_with_no_other() -> None:
    def at(degrees: float) -> tuple[float, float]:
        return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))

    # cos 20° = 0.940 and cos 40° = 0.766: the second goes, the third is compared with the first and stays.
    found = reduced("greedy", at(0), at(20), at(40), at(1))
    assert gone(found) == [(1, 0), (3, 0)]
    assert (found.kept, found.multiplicity) == ((0, 2), (3, 1))
    assert found.removed[0].similarity == 0.94
    assert reduced("greedy", at(0), at(20), threshold=0.95).kept == (0, 1)


def test_guard_keeps_what_has_a_word_that_no_kept_unit_has() -> None:
    vectors = unit_rows(EAST, EAST, EAST, NORTH)
    stems = [["dog", "run"], ["cat", "run"], ["run", "cat"], ["dog", "run"]]
    found = reduce_units(stems, vectors, TextRule("guard"))
    assert gone(found) == [(2, 0)]  # the fourth says no new word, but is far from all
    assert found.multiplicity == (2, 1, 1)
    assert reduce_units(stems, vectors, TextRule("greedy")).kept == (0, 3)


def test_a_long_row_is_compared_across_the_borders_of_blocks() -> None:
    generator = np.random.default_rng(3)
    rows = unit_rows(*generator.normal(size=(300, 8)))
    rows = np.concatenate([rows, rows])
    kept: list[int] = []
    for i, row in enumerate(rows):  # the slow, obvious version
        if not kept or max(round(float(row @ rows[j]), 3) for j in kept) < 0.85:
            kept.append(i)
    found = reduce_units([[]] * 600, rows, TextRule("greedy"))
    assert list(found.kept) == kept
    assert max(found.kept) < 300


def test_cosines_are_rounded_before_they_are_compared() -> None:
    almost = (0.79951, float(np.sqrt(1 - 0.79951**2)))
    below = (0.79949, float(np.sqrt(1 - 0.79949**2)))
    assert reduce_units([["a"], ["a"]], unit_rows(EAST, almost), TextRule("guard")).kept == (0,)
    assert reduce_units([["a"], ["a"]], unit_rows(EAST, below), TextRule("guard")).kept == (0, 1)


# ---- multiplicity ---------------------------------------------------------------------------------------------


def test_reducing_twice_adds_up_and_repeats_follow_their_kept_unit() -> None:
    stems = [["a"], ["b"], ["b"], ["b", "b"], ["a"]]
    vectors = unit_rows(EAST, NORTH, NORTH, (0.1, 1.0), EAST)
    first = reduce_units(stems, vectors, TextRule("exact"))
    assert (first.kept, first.multiplicity) == ((0, 1, 3), (2, 2, 1))
    kept = list(first.kept)
    second = reduce_units([stems[i] for i in kept], vectors[kept], TextRule("greedy"), weights=first.multiplicity)
    both = first.then(second)
    assert (both.kept, both.multiplicity) == ((0, 1), (2, 3))
    assert gone(both) == [(2, 1), (3, 1), (4, 0)]
    assert [removal.rule for removal in both.removed] == ["exact", "greedy", "exact"]


def test_what_stood_for_others_hands_them_on_when_it_goes() -> None:
    first = Reduction((0, 2), (Removal(1, 0, 1.0, "exact"), Removal(3, 2, 1.0, "exact")), (2, 2))
    second = reduce_units([["x"], ["x"]], unit_rows(EAST, (1.0, 0.1)), TextRule("greedy"), weights=first.multiplicity)
    assert first.then(second) == Reduction(
        (0,), (Removal(1, 0, 1.0, "exact"), Removal(2, 0, 0.995, "greedy"), Removal(3, 0, 0.995, "greedy")), (4,)
    )


# ---- the caller's mistakes ------------------------------------------------------------------------------------


def test_shapes_and_numbers_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"wanted \[2, D\]"):
        reduce_units([["a"], ["b"]], unit_rows(EAST), TextRule("guard"))
    with pytest.raises(ShapeError, match="weights"):
        reduce_units([["a"]], unit_rows(EAST), TextRule("guard"), weights=[1, 2])
    with pytest.raises(InputError, match="length 1"):
        reduce_units([["a"]], np.full((1, 2), 3.0, np.float32), TextRule("guard"))
    with pytest.raises(InputError, match="compares vectors"):
        reduce_units([["a"]], None, TextRule("greedy"))
    with pytest.raises(InputError, match="at least one"):
        TextRule(memory=0)
    with pytest.raises(InputError, match=r"0\.\.1"):
        TextRule(threshold=1.5)

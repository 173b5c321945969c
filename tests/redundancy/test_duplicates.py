"""What recurs inside one film."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import ShapeError
from fdvs.records import Clip, DuplicateGroup, Span
from fdvs.redundancy.duplicates import ClipLayouts, find_repeats
from fdvs.redundancy.layout import SKETCH, layouts_of, similarities, sketch_radius
from fdvs.redundancy.near import FaissNear, NumpyNear
from fdvs.redundancy.pictures import Pictures, pictures_of
from tests.redundancy.pictures import Pixels, film, flat, room, with_visitor

SAME = 0.85
EMPTY = room(1)


def spans(group: DuplicateGroup) -> list[tuple[int, int]]:
    return [(one.start_ms, one.end_ms) for one in (group.representative_span, *(m.span for m in group.members))]


def test_the_empty_room_is_one_group_with_all_its_times_and_visits_are_told_apart() -> None:
    first, second = with_visitor(EMPTY), with_visitor(EMPTY, left=5)
    clips = [[EMPTY] * 4, [first] * 4, [first] * 4, [EMPTY] * 4, [second] * 4, [second] * 4, [EMPTY] * 4]
    groups = find_repeats(film(clips), SAME)
    assert [spans(group) for group in groups] == [
        [(0, 2000), (6000, 8000), (12000, 14000)],
        [(2000, 4000), (4000, 6000)],
        [(8000, 10000), (10000, 12000)],
    ]
    assert {member.rule for group in groups for member in group.members} == {"same_picture"}
    assert {member.id for member in groups[0].members} == {
        clip.clip.id for clip in film(clips) if clip.clip.span.start_ms in (6000, 12000)
    }


def test_a_stretch_of_a_clip_that_shows_a_known_picture_is_recorded_with_its_own_times() -> None:
    clips = [[EMPTY] * 4, [room(2)] * 4, [room(3), EMPTY, EMPTY, room(4)], [room(5)] * 3]
    (group,) = find_repeats(film(clips), SAME)
    assert spans(group) == [(0, 2000), (4500, 5500)]
    assert group.members[0].rule == "same_picture_in_part"
    assert group.members[0].id.startswith("frame-")


def test_what_only_outlasts_its_clip_is_no_group() -> None:
    assert find_repeats(film([[room(1)] * 4, [room(1), room(1), room(2), room(2)]]), SAME) == ()


def test_one_frame_inside_a_clip_may_be_chance_and_is_no_repeat() -> None:
    clips = [[EMPTY] * 4, [room(2)] * 4, [room(3), EMPTY, room(4), room(4)]]
    assert find_repeats(film(clips), SAME) == ()


def test_a_moving_clip_shown_again_repeats_as_a_whole() -> None:
    moving = [room(seed) for seed in range(20, 28)]
    (group,) = find_repeats(film([moving, [room(2)] * 8, moving]), SAME)
    assert spans(group) == [(0, 4000), (8000, 12000)]
    assert group.members[0].similarity == 1


def test_two_pictures_of_one_clip_that_return_apart_are_two_groups() -> None:
    clips = [[room(1)] * 2 + [room(2)] * 2, [room(3)] * 4, [room(1)] * 4, [room(4)] * 4, [room(2)] * 4]
    groups = find_repeats(film(clips), SAME)
    assert [spans(group) for group in groups] == [[(0, 1000), (4000, 6000)], [(1000, 2000), (8000, 10000)]]


def test_black_and_flat_pictures_make_no_group() -> None:
    clips = [[flat(0)] * 4, [room(1)] * 4, [flat(0)] * 4, [flat(255)] * 4, [flat(0)] * 4]
    assert find_repeats(film(clips), SAME) == ()


def drifting(count: int) -> list[Pixels]:
    """Each picture is like the one before it and unlike the one far before it."""
    one, other = room(1).astype(np.float64), room(2).astype(np.float64)
    return [np.round(one + (other - one) * i / (count - 1)).astype(np.uint8) for i in range(count)]


def test_groups_do_not_drift_from_like_to_like() -> None:
    pictures = drifting(60)
    layouts = layouts_of(np.stack(pictures))
    assert similarities(layouts[1:], layouts[:-1]).min() >= SAME
    assert similarities(layouts[:1], layouts[-1:])[0] < SAME
    shown = pictures_of(layouts, SAME)
    firsts = {int(number): int(np.argmax(shown.picture == number)) for number in set(shown.picture.tolist())}
    assert len(firsts) > 2
    rows = np.array([firsts[int(number)] for number in shown.picture])
    to_first = similarities(layouts, layouts[rows])
    assert to_first.min() >= SAME
    assert to_first.tolist() == shown.similarity.tolist()


def test_clips_without_pictures_take_no_part() -> None:
    clips = film([[EMPTY] * 4, [], [room(3)] * 4, [EMPTY] * 4])
    assert len(find_repeats(clips, SAME)) == 1
    assert find_repeats([], SAME) == ()
    assert find_repeats(film([[], []]), SAME) == ()


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_frames_show_the_same_however_a_film_is_cut_into_calls(size: int) -> None:
    layouts = np.concatenate([item.layouts for item in random_film(3, 90)])
    whole = pictures_of(layouts, SAME)
    pictures = Pictures(SAME)
    parts = [pictures.show(layouts[start : start + size]) for start in range(0, len(layouts), size)]
    assert np.concatenate([part.picture for part in parts]).tolist() == whole.picture.tolist()
    assert np.concatenate([part.similarity for part in parts]).tolist() == whole.similarity.tolist()
    assert whole.picture.max() >= 11


def test_a_clip_needs_one_layout_for_each_sample() -> None:
    clip = Clip("clip-1", "v", Span(0, 1000), 0, (0, 500))
    with pytest.raises(ShapeError, match="wanted"):
        ClipLayouts(clip, layouts_of(EMPTY[None]))


def random_film(seed: int, num_clips: int, num_rooms: int = 12) -> list[ClipLayouts]:
    """Clips of four pictures twice each, among them noisy twins and black."""
    rng = np.random.default_rng(seed)
    kinds = [room(number, noise=noise) for number in range(num_rooms) for noise in (0.0, 3.0)] + [flat(0)]
    return film([[kinds[k] for k in np.repeat(rng.integers(0, len(kinds), 4), 2)] for _ in range(num_clips)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_members_come_after_their_representative_and_stand_in_one_group(seed: int, num_clips: int) -> None:
    groups = find_repeats(random_film(seed, num_clips), SAME)
    ids = [member.id for group in groups for member in group.members]
    assert len(ids) == len(set(ids))
    for group in groups:
        assert group.members
        starts = [start for start, _ in spans(group)]
        assert starts == sorted(starts)
        assert all(member.similarity >= SAME for member in group.members)
    assert [g.representative_span.start_ms for g in groups] == sorted(g.representative_span.start_ms for g in groups)


def test_faiss_and_numpy_find_the_same_groups() -> None:
    pytest.importorskip("faiss")
    clips = random_film(5, 300, num_rooms=80)
    radius = sketch_radius(SAME)
    by_numpy = find_repeats(clips, SAME, search=NumpyNear(SKETCH, radius))
    assert by_numpy == find_repeats(clips, SAME, search=FaissNear(SKETCH, radius))
    assert len(by_numpy) > 40


def each_of_long_film(num_clips: int, kinds: Sequence[Pixels]) -> Iterator[ClipLayouts]:
    """One by one, as they come out of a library."""
    layouts = layouts_of(np.stack(kinds))
    for i in range(num_clips):
        start = i * 4000
        rows = layouts[[i % len(kinds)] * 8]
        times = tuple(range(start, start + 4000, 500))
        yield ClipLayouts(Clip(f"clip-{i}", "v", Span(start, start + 4000), start, times), rows)


def test_ten_hours_take_little_memory() -> None:
    num_clips, kinds = 9000, [room(seed) for seed in range(200)]
    find_repeats(each_of_long_film(10, kinds), SAME)  # what is loaded once is no memory of the film's
    tracemalloc.start()
    groups = find_repeats(each_of_long_film(num_clips, kinds), SAME)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert len(groups) == 200
    assert sum(len(group.members) for group in groups) == num_clips - 200
    layouts_mib = num_clips * 8 * 288 / 2**20
    assert peak_mib < 1.5 * layouts_mib  # most of it clips and stretches; all layouts are never there at once

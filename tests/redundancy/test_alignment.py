"""What two videos share: chains of pictures at one distance in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fdvs.records import Span
from fdvs.redundancy.alignment import Track, align, track_of
from fdvs.redundancy.layout import layouts_of
from fdvs.redundancy.links import Alignment, links_of
from tests.redundancy.pictures import Pixels, flat, room


def track(video_id: str, pictures: Sequence[Pixels], *, step_ms: int = 500, first_ms: int = 0) -> Track:
    """A video whose samples, `step_ms` apart, show these pictures."""
    times = np.arange(len(pictures), dtype=np.int64) * step_ms + first_ms
    return track_of(video_id, int(times[-1]) + step_ms, times, layouts_of(np.stack(pictures)))


def shots(*seeds: int, samples: int = 4, noise: float = 0.0) -> list[Pixels]:
    return [room(seed, noise=noise) for seed in seeds for _ in range(samples)]


def test_a_reencoding_is_linked_as_a_whole() -> None:
    film, again = shots(*range(10)), shots(*range(10), noise=4.0)
    (found,) = align(track("a", film), track("b", again))
    assert (found.span, found.other_span, found.rule) == (Span(0, 20_000), Span(0, 20_000), "reencoding")
    assert 0.9 < found.similarity < 1


def test_an_excerpt_is_linked_to_its_place() -> None:
    film, part = shots(*range(30)), shots(*range(12, 18), noise=3.0)
    (found,) = align(track("a", film), track("b", part))
    assert (found.span, found.other_span, found.rule) == (Span(24_000, 36_000), Span(0, 12_000), "excerpt")
    (turned,) = align(track("a", part), track("b", film))
    assert (turned.span, turned.other_span) == (found.other_span, found.span)


def test_a_shared_intro_is_linked_and_what_follows_is_not() -> None:
    intro = shots(1, 2, 3, 4)
    (found,) = align(track("a", intro + shots(*range(20, 30))), track("b", intro + shots(*range(40, 60))))
    assert found.span.start_ms == found.other_span.start_ms == 0
    assert found.span.end_ms == 8000
    assert found.rule == "shared"


def test_other_sampling_times_find_the_same_stretch() -> None:
    film = shots(*range(12), samples=6)  # 3 s each
    times = np.arange(0, 36_000, 700)
    again = [room(int(time) // 3000, noise=3.0) for time in times]
    (found,) = align(track("a", film), track_of("b", 36_000, times, layouts_of(np.stack(again))))
    assert abs(found.span.start_ms - found.other_span.start_ms) <= 400
    assert found.span.duration_ms >= 34_000


def test_two_shared_stretches_at_other_distances_are_two_links() -> None:
    intro, outro = shots(1, 2, 3, 4), shots(5, 6, 7, 8)
    one = track("a", intro + shots(*range(20, 30)) + outro)
    other = track("b", intro + shots(*range(40, 65)) + outro)
    first, second = align(one, other)
    assert (first.span.start_ms, first.other_span.start_ms) == (0, 0)
    assert (second.span.end_ms, second.other_span.end_ms) == (one.duration_ms, other.duration_ms)
    assert second.span.start_ms == pytest.approx(28_000, abs=500)


@pytest.mark.parametrize(
    "common",
    [[flat(0)] * 40, [flat(255)] * 40, shots(1, samples=40), shots(1, 2, samples=20)],
    ids=["black", "white", "one-static-picture", "two-pictures"],
)
def test_what_proves_nothing_makes_no_link(common: list[Pixels]) -> None:
    assert align(track("a", shots(*range(20, 30)) + common), track("b", common + shots(*range(40, 50)))) == []


def test_pictures_in_common_in_another_order_make_no_link() -> None:
    assert align(track("a", shots(1, 2, 3, 4, 5, 6)), track("b", shots(6, 5, 4, 3, 2, 1))) == []


def test_single_frames_in_common_at_one_distance_are_outvoted_by_what_differs() -> None:
    one, other = shots(*range(100, 120), samples=2), shots(*range(200, 220), samples=2)
    for place in (3, 9, 14, 19):
        one[place] = other[place] = room(place)
    assert align(track("a", one), track("b", other)) == []


def test_videos_without_telling_pictures_share_nothing() -> None:
    empty = track("a", [flat(0)] * 5)
    assert len(empty.times_ms) == 0
    assert align(empty, track("b", shots(1, 2, 3))) == []
    assert align(track("a", shots(1)), track("b", shots(1))) == []


EARLY = Span(0, 10_000)


def made(one: str, other: str, span: Span = EARLY, other_span: Span = EARLY) -> Alignment:
    return Alignment(one, span, other, other_span, 0.9, "reencoding")


def test_three_twins_are_one_group_of_the_smallest_id_in_any_order() -> None:
    pairs = [made("a", "b"), made("a", "c"), made("b", "c")]
    (group,) = links_of(pairs)
    assert group == links_of(reversed(pairs))[0]
    assert group.representative_video_id == "a"
    assert [member.video_id for member in group.members] == ["b", "c"]


def test_what_only_two_of_three_share_is_a_group_of_its_own() -> None:
    late = Span(50_000, 60_000)
    groups = links_of([made("a", "b"), made("a", "c"), made("b", "c", late, late)])
    assert [group.representative_video_id for group in groups] == ["a", "b"]
    assert groups[1].representative_span == late

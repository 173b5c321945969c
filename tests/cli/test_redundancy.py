"""`fdvs redundancy` in words: totals, then what repeats what."""

from __future__ import annotations

from fdvs.cli.repeats import redundancy_lines
from fdvs.records import Span
from fdvs.redundancy.report import RedundancyReport, Removed
from tests.cli.commands import FILM, TALK, TWIN, done
from tests.cli.conftest import World


def test_neighbouring_frames_that_repeat_the_same_are_one_line(world: World) -> None:
    report = done("redundancy", FILM, "--json", "-L", world.library).json
    lines = done("redundancy", FILM, "-L", world.library).out.splitlines()
    assert lines[0] == (
        f"frames: {report['frames_kept']} of {report['frames_sampled']} kept; "
        f"captions: {report['captions_kept']} of {report['captions_total']} kept"
    )
    aside = lines[lines.index("  set aside:") + 1 :]
    assert aside[0].split() == ["0:00.6–0:05.0", "7", "frames", "like", "0:00.0", "similarity", "1.000", "(greedy)"]
    removed = [item for item in report["removed"] if item["rule"] == "greedy"]
    assert len(aside) < len(removed)
    assert sum(int(line.split()[1]) for line in aside) == len(removed)


def test_all_shows_the_repeats_of_every_video_under_its_name(world: World) -> None:
    lines = done("redundancy", "--all", "-L", world.library).out.splitlines()
    headings = [line for line in lines[1:] if not line.startswith(" ")]
    assert FILM in headings
    assert set(headings) <= {FILM, TWIN, TALK, "in several videos:"}
    one = done("redundancy", FILM, "-L", world.library).out.splitlines()[1:]
    at = lines.index(FILM)
    assert lines[at + 1 : at + 1 + len(one)] == one


def removed(start_ms: int, end_ms: int, kept: Span, rule: str, *, similarity: float = 0.95) -> Removed:
    return Removed(f"clip-{start_ms}", "a" * 64, "visual", Span(start_ms, end_ms), f"clip-{kept.start_ms}", "a" * 64,
                   kept, similarity, rule)  # fmt: skip


def test_what_is_shown_again_is_one_line_with_all_its_times() -> None:
    room, slide = Span(0, 2000), Span(30_000, 35_000)
    items = (
        removed(2000, 6000, room, "same_picture"),
        removed(20_500, 22_000, room, "same_picture_in_part", similarity=0.9012),
        removed(22_000, 22_700, room, "same_picture_in_part"),
        removed(3_725_000, 3_730_000, room, "same_picture"),
        removed(35_000, 61_000, slide, "same_picture"),
    )
    lines = redundancy_lines(RedundancyReport("a.mp4", 8, 4, 2, 2, items), {})
    assert lines[1:] == [
        "  shown again:",
        "    0:00–0:06  again 0:20–0:22, 1:02:05–1:02:10  similarity 0.901–0.950",
        "    0:30–1:01  unchanged  similarity 0.950",
    ]


def test_a_repeat_of_another_video_names_both() -> None:
    item = Removed(
        id="stretch-0123456789abcdef",
        video_id="b" * 64,
        kind="visual",
        span=Span(3000, 8000),
        kept_id="stretch-fedcba9876543210",
        kept_video_id="a" * 64,
        kept_span=Span(61000, 66000),
        similarity=0.98765,
        rule="excerpt",
    )
    report = RedundancyReport(None, 8, 4, 2, 2, (item,))
    lines = redundancy_lines(report, {"a" * 64: "first.mp4", "b" * 64: "second\x1b.mp4"})
    assert lines[1:] == [
        "in several videos:",
        "  second .mp4 0:03–0:08  is first.mp4 1:01–1:06  similarity 0.988  (excerpt)",
    ]

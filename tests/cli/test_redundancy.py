"""`fdvs redundancy` in words: totals, then what repeats what."""

from __future__ import annotations

from fdvs.cli.tables import redundancy_lines
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
    assert lines[1].split() == ["0:00.6–0:05.0", "7", "frames", "like", "0:00.0", "similarity", "1.000", "(greedy)"]
    assert len(lines) - 1 < len(report["removed"])
    counted = sum(int(line.split()[1]) for line in lines[1:])
    assert counted == len(report["removed"])


def test_all_shows_the_repeats_of_every_video_under_its_name(world: World) -> None:
    lines = done("redundancy", "--all", "-L", world.library).out.splitlines()
    headings = [line for line in lines[1:] if not line.startswith(" ")]
    assert FILM in headings
    assert set(headings) <= {FILM, TWIN, TALK}
    one = done("redundancy", FILM, "-L", world.library).out.splitlines()[1:]
    at = lines.index(FILM)
    assert lines[at + 1 : at + 1 + len(one)] == one


def test_a_repeat_of_another_video_names_it() -> None:
    item = Removed(
        id="clip-0123456789abcdef",
        video_id="b" * 64,
        kind="visual",
        span=Span(3000, 8000),
        kept_id="clip-fedcba9876543210",
        kept_video_id="a" * 64,
        kept_span=Span(61000, 66000),
        similarity=0.98765,
        rule="picture",
    )
    report = RedundancyReport(None, 8, 4, 2, 2, (item,))
    lines = redundancy_lines(report, {"a" * 64: "first.mp4", "b" * 64: "second\x1b.mp4"})
    assert lines[1] == "second .mp4"
    shown = " ".join(lines[2].split())
    assert shown == "0:03.0–0:08.0 1 clip like first.mp4 1:01.0 similarity 0.988 (picture)"

"""What people are told of how a model wrote a story."""

from __future__ import annotations

from fdvs.records import Level, Span
from fdvs.stories.writing_report import FellBack, LeftOut, Sectioned, WriterReport


def minutes(start: int, end: int) -> Span:
    return Span(start * 60_000, end * 60_000)


def test_a_story_without_trouble_has_nothing_to_say() -> None:
    assert WriterReport(nodes_written=7, nodes_without_text=2, cleaned_sentences=3, replies_reused=4).warnings() == []


def test_what_was_shortened_is_told_by_node_with_times_and_amounts() -> None:
    cuts = [LeftOut(Level.VIDEO, minutes(0, 60), minutes(i, i + 1), (f"n{i}",), 1000, 600) for i in range(10)]
    (line,) = WriterReport(left_out=tuple(cuts)).warnings()
    assert line == (
        "the video was told from shortened text: 6,000 of 10,000 characters did not fit the writer's model (0:00–1:00, "
        "1:00–2:00, 2:00–3:00, 3:00–4:00, 4:00–5:00, 5:00–6:00, 6:00–7:00, 7:00–8:00, 2 more)"
    )


def test_more_than_a_few_nodes_of_one_kind_are_counted() -> None:
    fallen = tuple(FellBack(Level.SCENE, minutes(i, i + 1), "no readable reply") for i in range(11))
    lines = WriterReport(nodes_fallen_back=11, fallbacks=fallen).warnings()
    assert len(lines) == 9
    assert lines[0] == "scene 0:00–1:00 was written by the built-in writer: no readable reply"
    assert lines[-1] == "3 more nodes were written by the built-in writer"


def test_each_kind_of_trouble_has_its_line() -> None:
    report = WriterReport(
        sectioned=(Sectioned(Level.CHAPTER, minutes(5, 10), 3),),
        truncated=1,
        unparsable=1200,
        invented_sources=1,
        dropped_sentences=2,
    )
    assert report.warnings() == [
        "chapter 5:00–10:00 was told from summaries of 3 sections, because its text did not fit the writer's model at "
        "once",
        "1 reply of the writer's model cut off at the limit",
        "1,200 replies of the writer's model could not be read",
        "1 source invented by the writer's model, left out",
        "2 sentences of the writer's model dropped",
    ]

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from fdvs.prompts.tokens import estimated_tokens
from fdvs.records import Level
from fdvs.retrieval.model_evidence import Asked, Evidence, gather
from fdvs.store.library import Store
from fdvs.store.rows import normalised
from tests.retrieval.long_story import CLIPS_PER_SCENE, clip_text, long_library
from tests.retrieval.stories import FakeEncoder, library, node, put, story

ENCODER = FakeEncoder()
LONG, LONG_ID = long_library()
STORE, KITCHEN_ID, STREET_ID = library()

QUESTION = "Who paints the lantern near the pier?"


def long(tokens: int, question: str = QUESTION, options: tuple[str, ...] = ()) -> Evidence:
    return gather(Asked(LONG, ENCODER, question, LONG_ID, options), tokens)


def sentences(evidence: Evidence) -> list[str]:
    return [sentence for piece in evidence.pieces for sentence in piece.sentences]


# ---- a film of three hours ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [0, 60, 150, 400, 1000, 4000])
@pytest.mark.parametrize("options", [(), ("the cook", "a gull", "nobody at all")])
def test_the_evidence_stays_within_its_budget(tokens: int, options: tuple[str, ...]) -> None:
    evidence = long(tokens, options=options)
    if evidence.pieces:
        assert estimated_tokens(evidence.text) <= tokens
    assert evidence.num_left_out > 0
    assert len(sentences(evidence)) + evidence.num_left_out == evidence.num_found


def test_the_budget_is_used() -> None:
    assert estimated_tokens(long(4000).text) > 0.8 * 4000
    assert long(1).pieces == long(0).pieces == ()
    assert len(long(400).pieces) < len(long(1000).pieces) < len(long(4000).pieces)


def test_the_evidence_is_in_the_order_of_time_a_longer_piece_before_what_it_holds() -> None:
    spans = [piece.row.span for piece in long(4000).pieces]
    assert spans == sorted(spans, key=lambda span: (span.start_ms, -span.end_ms))
    assert len(spans) > 20


def test_the_evidence_comes_from_all_levels() -> None:
    levels = Counter(piece.row.level for piece in long(4000).pieces)
    assert levels.keys() == set(Level)
    assert levels[Level.CLIP] > levels[Level.VIDEO] == 1


def test_no_sentence_is_given_twice_and_the_finest_node_gives_it() -> None:
    evidence = long(4000)
    given = [normalised(sentence) for sentence in sentences(evidence)]
    assert len(given) == len(set(given))
    finest = {normalised(s): piece.row.level for piece in evidence.pieces for s in piece.sentences}
    first_of_scenes = [i for i in range(0, 1080, CLIPS_PER_SCENE) if normalised(clip_text(i)) in finest]
    assert first_of_scenes
    with_clip = {piece.row.text for piece in evidence.pieces if piece.row.level is Level.CLIP}
    for index in first_of_scenes:
        assert (finest[normalised(clip_text(index))] is Level.CLIP) == (clip_text(index) in with_clip)


def test_what_fits_best_is_given_even_where_little_fits() -> None:
    told = " ".join(sentences(long(400)))
    assert "paints" in told
    assert "lantern" in told


def test_every_option_is_looked_for() -> None:
    given = " ".join(sentences(long(1500, "What is it?", ("some bread", "the radio"))))
    assert "some bread" in given
    assert "the radio" in given
    assert "a lifebelt" not in given


@pytest.mark.parametrize(("when", "first", "last"), [("beginning", 0, 300), ("end", 10_500, 10_800)])
def test_the_place_in_time_that_is_asked_for_comes_first(when: str, first: int, last: int) -> None:
    evidence = long(600, f"What happens at the {when} of the video?")
    clips = [piece.row.span for piece in evidence.pieces if piece.row.level is Level.CLIP]
    assert sum(first <= span.start_s and span.end_s <= last for span in clips) >= 10


def test_what_comes_after_an_event_is_given_first() -> None:
    evidence = gather(
        Asked(STORE, ENCODER, "What happens after the woman pours milk into a bowl?", KITCHEN_ID), tokens=90
    )
    assert "The cat drinks the milk." in sentences(evidence)
    assert "A woman opens the fridge." not in sentences(evidence)


# ---- small libraries ------------------------------------------------------------------------------------------------


def test_pieces_are_numbered_with_time_and_level() -> None:
    lines = gather(Asked(STORE, ENCODER, "What does the cat drink?", KITCHEN_ID), 4000).text.splitlines()
    assert lines[0] == 'Video: "kitchen.mp4"'
    assert lines[3] == '[1] whole video, 0:00–0:14: "A woman feeds her cat in a kitchen."'
    assert lines[8] == '[6] clip, 0:08–0:10: "The cat drinks the milk."'
    numbers = [int(found[1]) for line in lines if (found := re.match(r"\[(\d+)\]", line))]
    assert numbers == list(range(1, 9))


def test_with_several_videos_every_piece_says_which_one() -> None:
    evidence = gather(Asked(STORE, ENCODER, "What stops at the corner?"), 4000)
    lines = evidence.text.splitlines()
    assert lines[0] == 'Videos: 1 = "street.mp4", 2 = "kitchen.mp4"'
    assert all(re.match(r"\[\d+\] video [12], ", line) for line in lines[3:])
    videos = [piece.row.video_id for piece in evidence.pieces]
    assert videos == sorted(videos, key=[STREET_ID, KITCHEN_ID].index)


def test_a_text_that_returns_is_given_once_with_its_other_times() -> None:
    text = gather(Asked(STORE, ENCODER, "What stops at the corner?", STREET_ID), 4000).text
    assert "clip, 0:00–0:02, again at 0:08–0:10: " in text
    assert text.count("red car") == 1


def test_the_same_sentence_in_two_videos_is_given_for_both() -> None:
    store = Store.in_memory()
    for name in ("a.mp4", "b.mp4"):
        put(store, name, story([["A dog barks.", f"This is {name}."]], salt=name))
    text = gather(Asked(store, ENCODER, "What does the dog do?"), 4000).text
    assert text.count("A dog barks.") == 2


def test_a_title_is_given_where_it_says_more_than_the_sentences() -> None:
    title = [piece.title for piece in long(4000).pieces if piece.row.level is Level.CHAPTER]
    assert title
    assert all(one.startswith("Harbour, chapter") for one in title)
    assert {piece.title for piece in long(4000).pieces if piece.row.level is Level.CLIP} == {""}
    kitchen = gather(Asked(STORE, ENCODER, "What does the cat drink?", KITCHEN_ID), 4000)
    assert {piece.title for piece in kitchen.pieces} == {""}


def test_a_sentence_without_end_is_cut_and_counted() -> None:
    store = Store.in_memory()
    video_id = put(store, "x.mp4", story([["A dog barks.", "He says " + "blah " * 2000]]))
    evidence = gather(Asked(store, ENCODER, "What does he say?", video_id), 4000)
    assert evidence.num_cut == 1
    assert evidence.num_left_out == 0
    assert len(evidence.text) < 1500
    assert '…"' in evidence.text


def test_a_library_without_text_has_no_evidence() -> None:
    evidence = gather(Asked(Store.in_memory(), ENCODER, "What?"), 4000)
    assert (evidence.pieces, evidence.num_found, evidence.num_left_out) == ((), 0, 0)


def test_what_a_node_quotes_of_its_clips_is_not_given_again() -> None:
    clip = node(Level.CLIP, (0, 3), ['She says: "The tower was built in 1887 and is tall."'])
    scene = node(Level.SCENE, (0, 3), ['"The tower was built in 1887."', '"and is tall"', "A talk on towers."], [clip])
    top = node(Level.VIDEO, (0, 3), ["A talk on towers"], [scene])
    nodes = (top, replace(scene, parent=top.id), replace(clip, parent=scene.id))
    store = Store.in_memory()
    evidence = gather(Asked(store, ENCODER, "When was the tower built?", put(store, "x.mp4", nodes)), 4000)
    assert sentences(evidence) == ["A talk on towers.", 'She says: "The tower was built in 1887 and is tall."']
    assert [piece.row.level for piece in evidence.pieces] == [Level.SCENE, Level.CLIP]
    assert evidence.num_left_out == 0

"""What a story reads like: whole sentences, verbatim quotes, nothing told twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fdvs.records import CaptionKind, Level, Span, StoryNode
from fdvs.stories.choose import choose
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.lines import Line, clip_sentences, quote, told_once, utterances
from fdvs.stories.titles import headline, rare_phrases, spoken_phrase
from fdvs.stories.words import Rarity, content_words
from tests.stories.films import PEOPLE, SETTINGS, build, caption, clip_at, film, picture, still_facts


def speaking(*cues: tuple[int, int, str]) -> ClipEvidence:
    clip = clip_at(0, 60_000)
    said = [caption(clip, text, CaptionKind.SPEECH, span=Span(a, b), backend="film.srt") for a, b, text in cues]
    return ClipEvidence(clip, tuple(said), None, None)


def only(nodes: tuple[StoryNode, ...], level: Level) -> list[StoryNode]:
    return [node for node in nodes if node.level is level]


def line(text: str, start_ms: int = 0, end_ms: int = 10_000, *, kind: CaptionKind = CaptionKind.VISUAL) -> Line:
    return Line(text, text, kind, "model", (f"cap-{start_ms}",), start_ms, end_ms)


def test_a_sentence_over_several_cues_is_quoted_whole_with_all_its_sources() -> None:
    evidence = speaking(
        (0, 2000, "The first question is"), (2000, 4000, "how we store them. So"), (4000, 5000, "we wait.")
    )
    told = utterances([evidence])
    assert [item.text for item in told] == ['"The first question is how we store them."', '"So we wait."']
    ids = [item.id for item in evidence.captions]
    assert [item.sources for item in told] == [(ids[0], ids[1]), (ids[1], ids[2])]
    assert [(item.start_ms, item.end_ms) for item in told] == [(0, 4000), (2000, 5000)]


def test_a_pause_ends_an_utterance() -> None:
    told = utterances([speaking((0, 1000, "Hello"), (1500, 2000, "there"), (6000, 7000, "anyone"))])
    assert [item.plain for item in told] == ["Hello there", "anyone"]


def test_speech_without_full_stops_is_told_in_pieces_that_end_with_a_cue() -> None:
    cues = [(i * 2000, i * 2000 + 2000, f"word {i} and so on and on it goes here") for i in range(30)]
    evidence = speaking(*cues)
    told = utterances([evidence])
    assert " ".join(item.plain for item in told) == " ".join(text for _, _, text in cues)
    assert len(told) > 4
    assert all(item.plain.endswith("goes here") and len(item.plain) < 240 for item in told)
    assert [source for item in told for source in item.sources] == [item.id for item in evidence.captions]


def test_a_clip_quotes_all_its_speech_verbatim() -> None:
    evidence = speaking((0, 2000, "Everything is safe.\nPerfectly safe."), (2100, 3000, 'He said "run".'))
    told = clip_sentences(evidence)
    assert [sentence.text for sentence in told] == ['“Everything is safe. Perfectly safe. He said "run".”']
    assert told[0].sources == tuple(item.id for item in evidence.captions)


def test_on_screen_text_is_quoted_and_measured_facts_stay_together() -> None:
    clip = clip_at(0, 10_000)
    evidence = ClipEvidence(
        clip,
        (
            caption(clip, "A cut halfway. Otherwise still: white.", backend="builtin"),
            caption(clip, "What\nis LAION", CaptionKind.SCREEN_TEXT),
        ),
        None,
        None,
    )
    built = build([evidence])
    assert built.nodes[-1].text == 'A cut halfway. Otherwise still: white. On screen: "What is LAION".'
    assert len(built.nodes[-1].sentences) == 2
    assert only(built.nodes, Level.CHAPTER)[0].title == "What is LAION"


def test_clips_that_say_the_same_are_told_once_with_how_long_it_lasts() -> None:
    built = build(film(["A man sleeps", "A man sleeps", "A man sleeps", "A man wakes up"]))
    whole = built.nodes[0]
    assert whole.text == "A man sleeps. This continues until 0:30. A man wakes up."
    clips = only(built.nodes, Level.CLIP)
    later = [node.sentences[0].sources[0] for node in clips[1:3]]
    assert list(whole.sentences[1].sources) == later


def test_what_comes_back_is_noted_with_its_times() -> None:
    told = told_once([line("A title", t, t + 10_000) for t in (0, 10_000, 60_000, 90_000)])
    assert [item.text for item in told[0].sentences()] == [
        "A title", "This continues until 0:20.", "This returns at 1:00 and 1:30.",
    ]  # fmt: skip
    many = told_once([line("A title", t, t + 1000) for t in range(0, 100_000, 10_000)])
    assert many[0].sentences()[-1].text == "This returns 9 times, last at 1:30."


def test_lines_that_go_on_equally_long_are_told_so_together() -> None:
    built = build(film(["Rain falls. A cat looks out. The street is empty."] * 3))
    assert built.nodes[0].text == (
        "Rain falls. A cat looks out. The street is empty. All of this continues until 0:30."
    )
    clips = [node for node in built.nodes if node.level is Level.CLIP]
    assert len(built.nodes[0].sentences[-1].sources) == len(clips) - 1


def test_a_sentence_said_again_is_quoted_once() -> None:
    built = build(film([""] * 3, said=lambda _: "Follow me at once!"))
    assert only(built.nodes, Level.SCENE)[0].text == '"Follow me at once!"'


def choosing(lines: list[Line], count: int) -> list[str]:
    return [item.text for item in choose(lines, count, Rarity(content_words(item.plain) for item in lines))]


def test_the_central_sentence_is_chosen_and_order_stays() -> None:
    lines = [
        line("Rain falls on an empty road", 0),
        line("Anna repairs the robot arm with a wrench", 10_000),
        line("Ben watches how Anna repairs the robot", 20_000),
        line("The robot arm moves while Anna cheers", 30_000),
    ]
    assert choosing(lines, 1) == ["Anna repairs the robot arm with a wrench"]
    assert choosing(lines, 4) == [item.text for item in lines]
    assert choosing(lines, 3) == sorted(choosing(lines, 3), key=[item.text for item in lines].index)


def test_sentences_that_say_the_same_are_not_chosen_together() -> None:
    lines = [
        line("A man opens the kitchen cabinet", 0),
        line("The man opens a kitchen cabinet", 1),
        line("A cup falls", 2),
    ]
    assert choosing(lines, 3) == ["A man opens the kitchen cabinet", "A cup falls"]


def test_seen_and_said_both_find_a_place() -> None:
    seen = [line(f"The engineer {what}", i) for i, what in enumerate(["tests a robot", "drinks tea", "opens mail"])]
    said = line("Nothing in this valley grows without water", 7000, kind=CaptionKind.SPEECH)
    grunt = line("Oh!", 8000, kind=CaptionKind.SPEECH)
    assert said.text in choosing([*seen, said, grunt], 2)
    assert grunt.text not in choosing([*seen, grunt], 2)


def test_a_sentence_with_a_bare_pronoun_comes_after_one_that_stands_alone() -> None:
    lines = [line("She paints the old fence", 0), line("Maria paints the old fence of wood", 1)]
    assert choosing(lines, 1) == ["Maria paints the old fence of wood"]


@pytest.mark.parametrize(
    ("sentence", "title"),
    [
        ("Two people stand on a small bridge.", "Two people stand on a small bridge"),
        (
            "After the squealing plugs move on, Proog makes sure that Emo is unharmed and urges him onwards.",
            "Proog makes sure that Emo is unharmed and urges him onwards",
        ),
        (
            "The old man, Proog, shoves the younger and less experienced Emo on the ground to save him.",
            "The old man, Proog, shoves the younger and less experienced…",
        ),
        (
            "Realizing the danger that lies ahead of them, Proog grabs Emo by the arm.",
            "Realizing the danger that lies ahead of them",
        ),
        (
            'Xia Luo returns home and says to his mother, "I am back from the very long war."',
            "Xia Luo returns home and says to his mother",
        ),
    ],
)
def test_titles_are_clauses_of_the_sentence(sentence: str, title: str) -> None:
    assert headline(sentence) == title
    assert len(title) <= 60
    assert title.removesuffix("…") in sentence


def test_a_spoken_title_is_a_phrase_that_was_said() -> None:
    said = "So what we are going to do is, we break the number into buckets of 32 bits, okay?"
    phrase, score = spoken_phrase(said, {"number": 0.4, "buckets": 0.6, "bits": 0.5, "32": 0.2})
    assert phrase == "number into buckets of 32 bits"
    assert phrase in said
    assert score > 0


def test_a_spoken_title_is_cut_where_function_words_stand() -> None:
    said = "The big golden mirror segment is clean."
    weights = {"big": 0.1, "golden": 0.2, "mirror": 0.5, "segment": 0.5}
    assert spoken_phrase(said, weights)[0] == "big golden mirror segment", "not a part of it that weighs more"


def test_a_sentence_that_was_never_finished_is_no_title_beside_one_that_was() -> None:
    said = ["The mirror of the Webb telescope unfolds.", "This half of the observatory element successfully"]
    (film_node, *_) = build(film(["A still picture."] * 2, said=said.__getitem__, backend="builtin")).nodes
    assert film_node.title == '"Webb telescope unfolds"'


def test_chapters_have_distinct_titles() -> None:
    clips = film(["A still dark picture"] * 400, pictures=lambda i: picture(i // 40), backend="builtin")
    titles = [node.title for node in only(build(clips).nodes, Level.CHAPTER)]
    assert len(titles) > 5
    assert len(set(titles)) == len(titles)
    assert titles[0] == "A still dark picture"


def test_titles_come_from_speech_before_measured_facts() -> None:
    clips = film(
        ["A still picture."] * 2,
        said=lambda i: "The Webb telescope unfolds its mirror." if i else "",
        backend="builtin",
    )
    clips = [replace(clip, facts=still_facts(clip.clip, "white")) for clip in clips]
    built = build(clips)
    assert only(built.nodes, Level.CHAPTER)[0].title == '"Webb telescope unfolds its mirror"'
    assert only(built.nodes, Level.CLIP)[0].title == "Still, mostly white"


def test_the_rarest_measured_phrase_comes_first() -> None:
    whole = Counter({"Still, grey": 90, "Slow pan": 5, "Cuts": 5})
    here = [("Still, grey",)] * 6 + [("Slow pan",)] * 4
    assert rare_phrases(here, whole, 100) == ["Slow pan", "Still, grey"]


def test_long_scenes_with_words_are_told_at_more_length() -> None:
    texts = [f"The {who} opens box {i}" for i, who in enumerate(PEOPLE)]
    one_scene = replace(SETTINGS, story=replace(SETTINGS.story, scene_sensitivity=0.0))
    short = build(film(texts, clip_ms=1000), one_scene)
    long = build(film(texts, clip_ms=15_000), one_scene)
    assert len(only(short.nodes, Level.SCENE)[0].sentences) == SETTINGS.story.sentences_per_scene
    assert len(only(long.nodes, Level.SCENE)[0].sentences) > SETTINGS.story.sentences_per_scene


def test_settings_say_how_many_sentences_a_node_has() -> None:
    texts = [f"The {who} opens box {i}" for i, who in enumerate(PEOPLE)]
    story = replace(SETTINGS.story, sentences_per_scene=5, sentences_per_chapter=2, sentences_per_video=1)
    story = replace(story, scene_sensitivity=0.0)
    built = build(film(texts, clip_ms=1000), replace(SETTINGS, story=story))
    counts = [len(only(built.nodes, level)[0].sentences) for level in (Level.SCENE, Level.CHAPTER, Level.VIDEO)]
    assert counts == [5, 2, 1]


def test_quotes_around_quotes_are_curly() -> None:
    assert quote("plain") == '"plain"'
    assert quote('with "inner" ones') == '“with "inner" ones”'

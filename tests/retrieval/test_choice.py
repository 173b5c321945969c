"""What multiple choice is decided by, on numbers small enough to compute by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.retrieval.answer import ask
from fdvs.retrieval.background import MAX_UNITS, Units, Words, background_of, evenly, standardised
from fdvs.retrieval.choice import LONG, SHORT, SPREAD, Options, feature, option_scores
from fdvs.retrieval.choice_units import background_beside
from fdvs.retrieval.option_features import likelihood, softword
from fdvs.retrieval.pool import Query
from fdvs.store.library import Store
from tests.retrieval.stories import FakeEncoder, put, story

ENCODER = FakeEncoder()
EMPTY = Words(0, 0, lambda _: 0, lambda _: 0)


def units(texts: Sequence[str], weights: Sequence[int] | None = None) -> Units:
    return Units(ENCODER.encode(texts), [text.split() for text in texts], weights or [1] * len(texts))


def options(question: str, texts: Sequence[str]) -> Options:
    together = ENCODER.encode([f"{question} {text}" for text in texts])
    return Options(ENCODER.encode(texts), together, [text.split() for text in texts])


@pytest.mark.parametrize("name", SPREAD)
def test_every_feature_prefers_the_option_that_is_told(name: str) -> None:
    told = units(["dog run over grass", "dog find ball", "child throw ball"])
    others = background_of([units(["cat sleep", "cat drink milk"]), units(["car wait"])], ENCODER.dimension, EMPTY)
    asked = options("what", ["dog find ball", "cat drink milk"])
    found = feature(name, asked, told, others, ENCODER.encode)
    assert found.shape == (2,)
    assert found[0] > found[1]


def test_long_options_are_read_by_their_words_and_short_ones_by_meaning() -> None:
    assert options("q", ["a b c d", "e f g h"]).mix is LONG
    assert options("q", ["a b c", "d e f g"]).mix is SHORT
    assert {*LONG.weights, *SHORT.weights} == {*SPREAD}


@pytest.mark.parametrize("texts", [["dog run", "cat sleep", "bird sing"], ["dog run over the grass", "a b c d e"]])
def test_scores_sum_to_one_with_and_without_other_videos(texts: list[str]) -> None:
    told = units(["dog run over the grass"])
    for others in ([], [units(["cat sleep"])], [units(["cat sleep"]), units(["a b c d e", "bird sing"])]):
        background = background_of(others, ENCODER.dimension, EMPTY)
        scores = option_scores(options("what", texts), told, background, ENCODER.encode)
        assert math.fsum(scores) == pytest.approx(1)
        assert scores[0] == max(scores)


def test_likelihood_by_hand() -> None:
    # Here: dog 3 of 4 with multiplicity; anywhere: 1 in 1000 for both (0.5 + 0.5 of 1000 stems' worth of doubt).
    words = Words(1, 0, lambda _: 1, lambda _: 0)
    here = Units(np.eye(2, dtype=np.float32), [["dog"], ["cat"]], [3, 1])
    found = likelihood([["dog"], ["cat", "owl"]], here, words.share)
    share = 0.5 / 1000
    dog, cat, owl = (math.log(0.5 * part / share + 0.5) for part in (0.75, 0.25, 0.0))
    assert found.tolist() == pytest.approx([dog, (cat + owl) / math.sqrt(2)])


def test_a_word_that_is_near_a_told_one_counts_by_its_cube() -> None:
    table = {"dog": (1.0, 0.0), "car": (-1.0, 0.0), "puppy": (0.8, 0.6), "tree": (0.0, 1.0)}

    def encode(words: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray([table[word] for word in words], np.float32)

    here = Units(np.eye(2, dtype=np.float32), [["dog"], ["car"]], [1, 1])  # the words' mean is zero
    found = softword([["dog"], ["puppy"], ["tree"], ["puppy", "dog"]], here, lambda _: 1.0, encode)
    assert found.tolist() == pytest.approx([1.0, 0.8**3, 0.0, (0.8**3 + 1) / 2], abs=1e-6)


def test_multiplicity_counts_like_the_repeats_it_stands_for() -> None:
    repeated = units(["dog run", "dog run", "dog run", "cat sleep"])
    merged = units(["dog run", "cat sleep"], [3, 1])
    background = background_of([units(["bird sing"])], ENCODER.dimension, EMPTY)
    for texts in (["dog bark", "cat purr"], ["dog bark at a tree", "cat purr on a sofa"]):
        one, other = (
            option_scores(options("q", texts), read, background, ENCODER.encode) for read in (repeated, merged)
        )
        assert one == pytest.approx(other, abs=1e-6)


def test_without_other_videos_differences_stay_in_proportion() -> None:
    here = np.array([0.3, 0.5])
    alone = standardised(here, np.zeros((2, 0)))
    assert alone[1] - alone[0] == pytest.approx(0.2 / 0.1)
    # Four real videos beside four imagined ones: means 0.2 and 0.4 pull half way from 0.3, spreads stay 0.1.
    beside = standardised(here, np.array([[0.1, 0.3, 0.1, 0.3], [0.3, 0.5, 0.3, 0.5]]))
    assert beside.tolist() == pytest.approx([(0.3 - 0.25) / 0.1, (0.5 - 0.35) / 0.1])


def test_an_option_that_every_video_tells_of_counts_less() -> None:
    told = units(["man talk", "man swim"])
    asked = options("", ["man talk", "man swim"])
    everywhere = background_of([units(["man talk"]) for _ in range(30)], ENCODER.dimension, EMPTY)
    talk, swim = feature("best", asked, told, everywhere, ENCODER.encode)
    assert swim > talk
    talk, swim = feature("best", asked, told, background_of([], ENCODER.dimension, EMPTY), ENCODER.encode)
    assert swim == pytest.approx(talk, abs=1e-5)


def test_items_are_taken_evenly() -> None:
    assert evenly([1, 2, 3], 3) == [1, 2, 3]
    assert evenly(list(range(10)), 4) == [0, 2, 5, 7]
    assert len(units([f"word{i}" for i in range(3 * MAX_UNITS)]).thinned(MAX_UNITS).vectors) == MAX_UNITS


def test_the_background_in_a_library_is_its_other_videos() -> None:
    store = Store.in_memory()
    first = put(store, "a.mp4", story([["A dog runs.", "A dog barks."]], salt="a"))
    put(store, "b.mp4", story([["A cat sleeps.", "The cat and the cat."]], salt="b"))
    query = Query(store, ENCODER, "dog")
    beside = background_beside(query, first)
    stems = query.pool.stems(["dog cat"])[0]
    assert [beside.words.having(stem) for stem in stems] == [0, 1]
    assert [beside.words.count(stem) for stem in stems] == [0, 6]
    assert (beside.words.num_videos, beside.words.total) == (1, 8)  # cat, sleep, cat, cat: in title and text
    assert len(beside.vectors) == 2
    assert background_beside(query, None).words.num_videos == 2

    single = Store.in_memory()
    video = put(single, "alone.mp4", story([["A dog runs."]]))
    alone = background_beside(Query(single, ENCODER, "dog"), video)
    assert (alone.words.num_videos, alone.words.total, len(alone.vectors)) == (0, 0, 0)


def test_long_options_are_answered_in_a_library() -> None:
    store = Store.in_memory()
    video = put(store, "a.mp4", story([["A dog digs holes near the old fence.", "A child waters red flowers."]]))
    put(store, "b.mp4", story([["A car waits at night."]], salt="b"))
    said = ["the dog digs many holes near the fence", "the dog sleeps all day under the table"]
    answer = ask(store, ENCODER, "What does the dog do?", options=said, video_id=video)
    assert answer.option_index == 0
    assert (
        answer.option_scores == ask(store, ENCODER, "What does the dog do?", options=said, video_id=video).option_scores
    )

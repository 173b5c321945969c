"""A choice of attention as words, as JSON and as a fingerprint."""

from __future__ import annotations

import json

import pytest

from fdvs.errors import UnknownBackendError, UsageError
from fdvs.kernels.choice import DENSE_BELOW, AttentionChoice, choice_from, choice_of


def test_words_become_a_choice() -> None:
    found = choice_of("tca", ["window=512", "alpha=0.25", "with-sinks=true", "rule=mean", "dense_below=0", "sinks=8"])
    settings = (("alpha", 0.25), ("rule", "mean"), ("window", 512), ("with_sinks", True))
    assert found == AttentionChoice("tca", settings, dense_below=0, sinks=8)
    assert choice_of("cca").dense_below == DENSE_BELOW
    assert found.words() == "tca (alpha=0.25, rule=mean, window=512, with_sinks=True)"


def test_a_choice_survives_json() -> None:
    found = choice_of("lca", ["group=8", "dense_below=64"])
    assert choice_from(json.loads(found.to_json())) == found


def test_each_setting_is_in_the_fingerprint() -> None:
    made = [("tca",), ("cca",), ("tca", "window=1"), ("tca", "window=2"), ("tca", "sinks=1"), ("tca", "dense_below=1")]
    assert len({choice_of(method, words).fingerprint() for method, *words in made}) == len(made)
    assert choice_of("tca", ["a=1", "b=2"]).fingerprint() == choice_of("tca", ["b=2", "a=1"]).fingerprint()


@pytest.mark.parametrize("words", [["window"], ["=3"], ["a=1", "a=2"], ["dense_below=half"], ["sinks=-1"]])
def test_what_is_no_setting_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        choice_of("tca", words)


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownBackendError, match=r"cca.*tca"):
        choice_of("tcb")

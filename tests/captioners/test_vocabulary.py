"""The shipped names: what tags and detector are made of."""

from __future__ import annotations

import pytest

from fdvs.captioners import vocabulary as module
from fdvs.captioners.tags import LEAST, MOST
from fdvs.captioners.vocabulary import KINDS, TEMPLATES, Vocabulary, bare_names, fingerprint, parse, vocabulary


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_distinct_plain_and_have_rivals(kind: str) -> None:
    of = vocabulary(kind)
    every = [*of.names, *of.rivals]
    assert len(set(every)) == len(every)
    assert len(of.rivals) >= 3
    for name in every:
        assert name == " ".join(name.split())
        assert name
        assert not set(name) & set(".,{}#\n")


def test_lists_are_as_long_as_everyday_video_needs() -> None:
    sizes = {kind: len(vocabulary(kind).names) for kind in KINDS}
    assert sizes["places"] >= 120
    assert sizes["objects"] >= 300
    assert sizes["actions"] >= 150


def test_every_kind_has_several_sentences_and_a_rule() -> None:
    assert LEAST.keys() == MOST.keys() == TEMPLATES.keys() == set(KINDS)
    for kind in KINDS:
        prompts = vocabulary(kind).prompts()
        assert all(len(set(texts)) == len(texts) >= 3 for texts in prompts)
        assert len(prompts) == len(vocabulary(kind).names) + len(vocabulary(kind).rivals)


def test_file_tells_names_rivals_and_remarks_apart() -> None:
    assert parse("light", "# remark\n\nat night\n- a page\n by day \n") == Vocabulary(
        "light", ("at night", "by day"), ("a page",)
    )


def test_detector_looks_for_the_objects_without_their_article() -> None:
    names = bare_names()
    assert {"cup", "umbrella", "sun", "grass", "pair of scissors"} <= set(names)
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith(("a ", "an ", "the ")) or "." in name]


def test_another_name_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint()
    assert len(before) == 8
    shipped = {kind: vocabulary(kind) for kind in KINDS}
    assert fingerprint.__wrapped__() == before
    more = {**shipped, "light": Vocabulary("light", (*shipped["light"].names, "by moonlight"), shipped["light"].rivals)}
    monkeypatch.setattr(module, "vocabulary", more.__getitem__)
    assert fingerprint.__wrapped__() != before
    monkeypatch.setattr(module, "vocabulary", shipped.__getitem__)
    monkeypatch.setattr(module, "RIVAL_TEMPLATES", ("a photograph of {}.", *module.RIVAL_TEMPLATES[1:]))
    assert fingerprint.__wrapped__() != before

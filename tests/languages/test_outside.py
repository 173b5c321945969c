from __future__ import annotations

from typing import Any

import pytest

from fdvs.batch.outside import text_warnings
from fdvs.records import VideoLanguages
from fdvs.store.library import Store
from tests.store import samples

RUSSIAN = VideoLanguages(("ru",))


@pytest.mark.parametrize(
    ("story", "languages", "begins"),
    [
        ({"text_embedder": "minilm"}, RUSSIAN, ["text in Russian"]),
        ({"text_embedder": "sentence-transformers:x"}, RUSSIAN, []),
        ({"text_embedder": "minilm"}, VideoLanguages(("en",)), []),
        ({}, RUSSIAN, []),  # a story from elsewhere that does not say how it was made
    ],
)
def test_warnings_follow_from_the_languages_and_settings_of_the_story(
    story: dict[str, Any], languages: VideoLanguages, begins: list[str]
) -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["Собака бежит."])
    nodes = store.nodes(video.id)
    store.put_story(
        video.id,
        "s",
        {"story": story},
        nodes,
        vectors={},
        model="",
        clips_hash="c",
        captions_hash="c",
        languages=languages,
    )
    found = text_warnings(store).get(video.id, [])
    assert [line[: len(begin)] for line, begin in zip(found, begins, strict=True)] == begins

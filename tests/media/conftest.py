"""The rendered videos, once per session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.media_files import MediaFacts, render_all

Media = Callable[[str], MediaFacts]


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Facts of a rendered file by its name in `RECIPES`; rendered when first asked for."""
    made: dict[str, MediaFacts] = {}

    def get(name: str) -> MediaFacts:
        if name not in made:
            made.update(render_all(tmp_path_factory.mktemp(name), [name]))
        return made[name]

    return get

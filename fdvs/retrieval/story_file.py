"""A story without its library: loaded from an exported file, read, searched and asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fdvs.errors import InputError
from fdvs.models.consent import Ask, hosted, obtain_consent
from fdvs.models.resolve import choose
from fdvs.records import Answer, Hit, StoryNode, StoryRecord, Video
from fdvs.retrieval.readers import Readers, what_is_sent
from fdvs.settings import Settings
from fdvs.store.library import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fdvs.encoders.text import TextEncoder

DEFAULT_ENCODER = "minilm"
_FORMS = ("json", "md", "tree")


class Story:
    """The story of one video.

    `walk` and `at` read the tree; `search` and `ask` work as on a library and encode the tree's texts at first use.

    Args:
        record: the story.
        encoder: text encoder of `search` and `ask`; default: the one in the package.
        settings: who answers, and how models are asked; default: the built-in reader.
    """

    def __init__(
        self, record: StoryRecord, *, encoder: TextEncoder | None = None, settings: Settings | None = None
    ) -> None:
        self.record = record
        self._settings = choose(settings or Settings())[0]
        self._readers = Readers(self._settings)
        self._encoder = encoder
        self._store: Store | None = None

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, encoder: TextEncoder | None = None, settings: Settings | None = None
    ) -> Self:
        """Read an exported story (`fdvs-story/1`).

        Raises:
            InputError: the file cannot be read, or is no valid story; the message says why.
        """
        from fdvs.stories.file import load_story

        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{os.fspath(path)}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{os.fspath(path)}: not a story file (not UTF-8)") from error
        return cls(load_story(text), encoder=encoder, settings=settings)

    @property
    def video(self) -> Video:
        return self.record.video

    @property
    def nodes(self) -> tuple[StoryNode, ...]:
        """All nodes in pre-order, the video first."""
        return self.record.nodes

    def walk(self) -> Iterator[StoryNode]:
        """The nodes in reading order: each before its children, children in time order."""
        return iter(self.record.nodes)

    def at(self, seconds: float) -> list[StoryNode]:
        """The nodes whose span holds that time, from the video down to the clip.

        Raises:
            InputError: the time lies outside the video.
        """
        time_ms = round(seconds * 1000)
        if not 0 <= time_ms < self.video.duration_ms:
            raise InputError(f"{seconds} s lies outside the video (0 to {self.video.duration_ms / 1000} s)")
        nodes = {node.id: node for node in self.record.nodes}
        here: StoryNode | None = self.record.nodes[0]
        path: list[StoryNode] = []
        while here is not None:
            path.append(here)
            children = (nodes[child] for child in here.children)
            here = next((child for child in children if child.span.contains(time_ms)), None)
        return path

    def search(self, query: str, *, k: int = 10, level: str = "any", min_similarity: float | None = None) -> list[Hit]:
        """Moments that fit a query, best first; see `fdvs.retrieval.search.search`."""
        from fdvs.retrieval.search import search

        store, encoder = self._searchable()
        return search(store, encoder, query, k=k, level=level, min_similarity=min_similarity)

    def ask(
        self,
        question: str,
        *,
        options: Sequence[str] = (),
        k: int = 5,
        reader: str | None = None,
        reader_model: str | None = None,
        reader_url: str | None = None,
        allow_hosted: bool = False,
        on_consent: Ask | None = None,
    ) -> Answer:
        """An answer with the spans it rests on; see `fdvs.retrieval.answer.ask`, and `fdvs.Library.ask` for the reader
        and for leave to ask one elsewhere. A model stays open until `close`."""
        from fdvs.retrieval.answer import ask

        who = self._readers.choice(reader, reader_model, reader_url)
        store, encoder = self._searchable()
        allowed = allow_hosted or self._settings.run.allow_hosted
        what = partial(what_is_sent, self._settings)
        obtain_consent(hosted((who.name, who.url)), store, what, allow_hosted=allowed, ask=on_consent)
        opened = self._readers.open(who)
        return ask(store, encoder, question, video_id=self.video.id, options=options, k=k, reader=opened)

    def close(self) -> None:
        """Let go of the models that answered; the story can still be read and asked."""
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def render(self, form: str = "tree") -> str:
        """The story as text: `tree` for a terminal, `md` (Markdown) or `json` (`fdvs-story/1`)."""
        from fdvs.stories.file import dump_story
        from fdvs.stories.render import render_markdown, render_tree

        forms = {"tree": render_tree, "md": render_markdown, "json": dump_story}
        if form not in forms:
            raise InputError(f"unknown format {form!r}; known: {', '.join(_FORMS)}")
        return forms[form](self.record)

    def _searchable(self) -> tuple[Store, TextEncoder]:
        if self._encoder is None:
            from fdvs.encoders.text import text_encoder

            self._encoder = text_encoder(DEFAULT_ENCODER)
        if self._store is None:
            store = Store.in_memory()
            store.put_record(self.record, "exported")
            store.put_vectors(self.video.id, node_vectors(self.record.nodes, self._encoder), self._encoder.name)
            self._store = store
        return self._store, self._encoder


def node_vectors(nodes: Sequence[StoryNode], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """{node id: unit vector} as a build makes them: a clip's is its text's, a higher node's the normalised mean of its
    sentences'. A node without text has none."""
    import numpy as np

    from fdvs.stories.tree import texts_of

    parts = {node.id: texts for node in nodes if (texts := texts_of(node))}
    texts = list(dict.fromkeys(text for part in parts.values() for text in part))
    if not texts:
        return {}
    rows = dict(zip(texts, encoder.encode(texts), strict=True))
    means = {node_id: np.sum([rows[text] for text in part], axis=0) for node_id, part in parts.items()}
    norms = {node_id: float(np.linalg.norm(mean)) for node_id, mean in means.items()}
    return {node_id: (means[node_id] / norm).astype(np.float32) for node_id, norm in norms.items() if norm > 0}

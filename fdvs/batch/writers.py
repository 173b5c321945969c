"""Models that write stories without a build: for imports, which run in this process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fdvs.batch.model_clients import serving_of
from fdvs.chat.base import ChatModel
from fdvs.chat.hosts import TokenEstimate, consent_text
from fdvs.chat.registry import open_chat
from fdvs.models.consent import Ask, hosted, obtain_consent
from fdvs.models.resolve import complete_role
from fdvs.settings import Settings
from fdvs.store.library import Store


@dataclass
class Writers:
    """The writers that an import needs, each opened at its first use and kept until `close`.

    Attributes:
        ask: asks somebody whether text may go to a server elsewhere; None: nobody is there.
    """

    store: Store
    ask: Ask | None = None
    _open: dict[tuple[str, str, str], ChatModel] = field(default_factory=dict)

    def complete(self, settings: Settings) -> Settings:
        """Settings whose writer is named in full: what keys and exports are made of."""
        story = settings.story
        choice = complete_role("writer", story.writer, story.writer_model, story.writer_url)
        named = replace(story, writer=choice.name, writer_model=choice.model, writer_url=choice.url)
        return replace(settings, story=named)

    def get(self, settings: Settings) -> ChatModel | None:
        """The model of completed settings; None for the built-in writer.

        Raises:
            ConsentError: it is elsewhere and nobody agreed; nothing was sent.
            BackendUnavailableError, ServerError: it is not here, or does not answer.
        """
        story = settings.story
        if story.writer == "builtin":
            return None
        place = (story.writer, story.writer_model, story.writer_url)
        if place not in self._open:
            hosts = hosted((story.writer, story.writer_url))
            allow = settings.run.allow_hosted
            obtain_consent(hosts, self.store, lambda host: _told(host, settings), allow_hosted=allow, ask=self.ask)
            self._open[place] = open_chat(*place, serving_of(settings, self.store.folder))
        return self._open[place]

    def close(self) -> None:
        """Let go of all of them."""
        for model in self._open.values():
            model.close()
        self._open.clear()


def _told(host: str, settings: Settings) -> str:
    """What the story of one video sends to a writer at `host`, at the most that is usual."""
    story, run = settings.story, settings.run
    requests = story.max_children
    tokens = TokenEstimate(requests * story.writer_context_tokens, requests * story.writer_max_tokens)
    return consent_text(
        host, num_requests=requests, num_frames=0, tokens=tokens, price_in=run.price_in, price_out=run.price_out
    )

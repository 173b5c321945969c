"""Readers by explicit name, each opened once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fdvs.chat.hosts import TokenEstimate, consent_text
from fdvs.chat.registry import BACK_ENDS, Serving, open_chat
from fdvs.errors import UnknownBackendError
from fdvs.models.resolve import AUTO, BUILTIN, FOLDER, Choice, resolve_role
from fdvs.settings import AnswerSettings, RunSettings, Settings

if TYPE_CHECKING:
    from fdvs.retrieval.model_reader import ModelReader


def chosen_reader(settings: AnswerSettings, name: str | None, model: str | None, url: str | None) -> AnswerSettings:
    """The settings with what a caller names in their place.

    Who names another reader than the settings do means none of their models: these are of another back end. A folder
    and the name of its model go together: who names one of the two does not mean the other one of the settings.

    Raises:
        UnknownBackendError: there is no such reader; the message lists the known names.
    """
    if name is not None and name != settings.reader:
        settings = replace(settings, reader=name, reader_model="", reader_url="")
    if settings.reader not in (BUILTIN, AUTO, *BACK_ENDS):
        raise UnknownBackendError("reader", settings.reader, [BUILTIN, AUTO, *BACK_ENDS])
    if model and not url and settings.reader_url.startswith(FOLDER):
        settings = replace(settings, reader_url="")
    if url and url.startswith(FOLDER) and not model:
        settings = replace(settings, reader_model="")
    return replace(settings, reader_model=model or settings.reader_model, reader_url=url or settings.reader_url)


def open_reader(who: Choice, settings: AnswerSettings, run: RunSettings) -> ModelReader | None:
    """The reader that was chosen, in full; None is the built-in one, which needs no opening.

    Raises:
        BackendUnavailableError, ServerError: it cannot be had here and now.
    """
    if who.name == BUILTIN:
        return None
    from fdvs.retrieval.model_reader import ModelReader

    serving = Serving(run.requests, run.request_timeout_s, run.request_retries)
    return ModelReader(open_chat(who.name, who.model, who.url, serving), settings)


def what_is_sent(settings: Settings, host: str) -> str:
    """What one question sends to a reader at `host`, for people who are asked whether it may."""
    said, run = settings.answers, settings.run
    return consent_text(
        host,
        num_requests=1,
        num_frames=0,
        tokens=TokenEstimate(said.evidence_tokens, said.max_tokens),
        price_in=run.price_in,
        price_out=run.price_out,
    )


class Readers:
    """The readers that were asked for, each opened once and kept until `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chosen: dict[AnswerSettings, Choice] = {}
        self._open: dict[Choice, ModelReader] = {}

    def choice(self, name: str | None = None, model: str | None = None, url: str | None = None) -> Choice:
        """Who answers, in full, from these names and the settings; finding a folder's own name reads its weights, and
        is done once.

        Raises:
            UsageError, BackendUnavailableError, ServerError: it cannot be told, is not here, does not answer.
        """
        said = chosen_reader(self._settings.answers, name, model, url)
        if said not in self._chosen:
            self._chosen[said] = resolve_role("reader", said.reader, said.reader_model, said.reader_url)
        return self._chosen[said]

    def open(self, who: Choice) -> ModelReader | None:
        """That reader, ready to be asked; None is the built-in one. Raises what `open_reader` raises."""
        if who not in self._open:
            opened = open_reader(who, self._settings.answers, self._settings.run)
            if opened is None:
                return None
            self._open[who] = opened
        return self._open[who]

    def close(self) -> None:
        """Close them all; what is asked for again is opened again."""
        while self._open:
            self._open.popitem()[1].close()

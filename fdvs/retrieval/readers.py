"""Readers by explicit name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fdvs.chat.registry import BACK_ENDS, Serving, open_chat
from fdvs.errors import UnknownBackendError, UsageError
from fdvs.retrieval.builtin_reader import BUILTIN
from fdvs.settings import AnswerSettings, RunSettings, Settings

if TYPE_CHECKING:
    from fdvs.retrieval.model_reader import ModelReader

AUTO = "auto"


def chosen_reader(
    settings: AnswerSettings, reader: str | None = None, model: str | None = None, where: str | None = None
) -> AnswerSettings:
    """The settings with what a caller names in their place. Who names another reader than the settings do means none of
    their models: these are of another back end."""
    if reader is not None and reader != settings.reader:
        settings = replace(settings, reader=reader, reader_model="", reader_url="")
    return replace(
        settings,
        reader_model=settings.reader_model if model is None else model,
        reader_url=settings.reader_url if where is None else where,
    )


def open_reader(settings: AnswerSettings, run: RunSettings) -> ModelReader | None:
    """The reader that the settings name; None is the built-in one, which needs no opening.

    Raises:
        UnknownBackendError: there is no such reader; the message lists the known names.
        UsageError: its model is not named.
        BackendUnavailableError, ServerError: it cannot be had here and now.
    """
    if settings.reader in (BUILTIN, AUTO):
        return None
    if settings.reader not in BACK_ENDS:
        raise UnknownBackendError("reader", settings.reader, [BUILTIN, AUTO, *BACK_ENDS])
    if not settings.reader_model:
        raise UsageError(f"the reader {settings.reader} needs the name of a model: --reader-model NAME")
    from fdvs.retrieval.model_reader import ModelReader

    serving = Serving(run.requests, run.request_timeout_s, run.request_retries)
    return ModelReader(open_chat(settings.reader, settings.reader_model, settings.reader_url, serving), settings)


class OpenReaders:
    """The readers that were asked for, each opened once and kept until `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[AnswerSettings, ModelReader] = {}

    def reader(self, name: str | None, model: str | None, where: str | None) -> ModelReader | None:
        """The reader that the settings name, or the caller in their place; see `open_reader`."""
        chosen = chosen_reader(self._settings.answers, name, model, where)
        if chosen not in self._open:
            opened = open_reader(chosen, self._settings.run)
            if opened is None:
                return None
            self._open[chosen] = opened
        return self._open[chosen]

    def close(self) -> None:
        """Close them all; what is asked for again is opened again."""
        while self._open:
            self._open.popitem()[1].close()

"""Which sparse attention a captioner's model computes with, as settings say it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.chat.registry import WITH_ATTENTION
from fdvs.errors import UsageError
from fdvs.settings import CaptionSettings

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice

FILES = frozenset({"budgets"})
"""Settings whose value is a file: what it holds shapes captions, and not where it lies."""

_INSTEAD = {
    "openai": "its server computes; start that with fdvs serve --attention METHOD",
}


def attention_of(settings: CaptionSettings) -> AttentionChoice | None:
    """The choice that these settings name; None for the model's own attention.

    Raises:
        UnknownBackendError: there is no such method; the message lists those there are.
        UsageError: a setting is none.
    """
    if not settings.attention:
        return None
    from fdvs.kernels.choice import choice_of

    return choice_of(settings.attention, [one for one in settings.attention_settings.split(",") if one])


def check_attention(settings: CaptionSettings) -> None:
    """Raises what `attention_of` raises, and UsageError where the captioner has no attention that could be chosen, or
    a file that is named is not there."""
    choice = attention_of(settings)
    if choice is None:
        if settings.attention_settings:
            raise UsageError(f"{settings.attention_settings} is set for attention, and no method: name one, too")
        return
    if settings.captioner not in WITH_ATTENTION:
        instead = _INSTEAD.get(settings.captioner, f"{' or '.join(sorted(WITH_ATTENTION))} can")
        raise UsageError(f"the captioner {settings.captioner} cannot use --attention {settings.attention}: {instead}")
    for path in _files(choice):
        if not path.is_file():
            raise UsageError(f"{path} is named for --attention {settings.attention} and is not there")


def fingerprint(settings: CaptionSettings) -> str:
    """What shapes captions through attention besides the settings themselves: the contents of files they name."""
    choice = attention_of(settings)
    if choice is None:
        return ""
    return "+".join(hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in _files(choice) if path.is_file())


def _files(choice: AttentionChoice) -> list[Path]:
    return [Path(str(value)).expanduser() for name, value in choice.settings if name in FILES]

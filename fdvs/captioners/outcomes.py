"""What a model's reply is worth as a caption: ok, truncated, refused or failed. A failure is never stored as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fdvs.chat.base import ChatReply, Finish
from fdvs.records import Outcome
from fdvs.stories.words import ENDS, safe_text, same_text_key, split_sentences, words

CHARS_PER_TOKEN = 8  # more text than that for each token that was allowed did not come from counting tokens
_LOOP_WORDS = 4  # a run of so many words that comes again and again is a loop
_LOOP_SHARE = 0.5  # of the words of a reply that lie in repeats of such runs
_LOOP_MIN_WORDS = 24
_SHOWN_CHARS = 100
_REFUSAL = re.compile(
    r"^\W*(?:(?:i['’]?m|i am|we['’]?re) (?:so |very |really )?(?:sorry|afraid|unable)|sorry\b|i apologi[sz]e|"
    r"as an ai\b|as a language model\b|(?:unfortunately,? )?i (?:can['’]?t|cannot|can not|won['’]?t|am not able to) "
    r"(?:help|assist|describe|provide|identify|comply|fulfil|do that|view|see|process|analy[sz]e|continue))",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"(?:\*\*|__|`{1,3}|^\s{0,3}#{1,6}\s|^\s*(?:[-*•]|\d+[.)])\s+|<\|[^|>]{0,40}\|>)", re.MULTILINE)
_LEAD_IN = re.compile(r"^(?:sure|certainly|of course|okay|ok|here(?:'s| is)[^:.!\n]{0,60})[!,.:]\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Judged:
    """A caption's text, how it ended and why; without text where it was refused or failed."""

    text: str
    outcome: Outcome
    reason: str = ""


def judge(reply: ChatReply, max_tokens: int) -> Judged:
    """What a reply says as a caption.

    Truncated text ends with its last whole sentence, where it has one. A reply that is empty, or that runs on in a
    loop, has failed. One that is far longer than `max_tokens` allow is cut.
    """
    text = plain_text(reply.text)
    unusable = _unusable(reply, text)
    if unusable is not None:
        return unusable
    most = max_tokens * CHARS_PER_TOKEN
    if len(text) > most or reply.finish is Finish.LENGTH:
        return Judged(_whole_sentences(text[:most]), Outcome.TRUNCATED, f"cut at {max_tokens} tokens")
    return Judged(text, Outcome.OK)


def _unusable(reply: ChatReply, text: str) -> Judged | None:
    if reply.finish is Finish.FAILED:
        return Judged("", Outcome.FAILED, reply.reason or "the model failed")
    if reply.finish is Finish.REFUSED:
        return Judged("", Outcome.REFUSED, reply.reason or "the model refused")
    if not words(text):
        return Judged("", Outcome.FAILED, "the model's reply is empty")
    if _REFUSAL.match(text):
        return Judged("", Outcome.REFUSED, f"the model refused: {_shown(text)}")
    if is_loop(text):
        return Judged("", Outcome.FAILED, f"the model repeats itself: {_shown(text)}")
    return None


def plain_text(text: str) -> str:
    """A reply as one line of plain words: no markup, no lead-in, nothing that a terminal would act on."""
    return _LEAD_IN.sub("", safe_text(_MARKUP.sub(" ", text))).strip().strip('"“”').strip()


def is_loop(text: str) -> bool:
    """Whether most of a longer text is the same few words again and again."""
    told = words(text)
    if len(told) < _LOOP_MIN_WORDS:
        return False
    runs = Counter(tuple(told[i : i + _LOOP_WORDS]) for i in range(len(told) - _LOOP_WORDS + 1))
    again = sum(count - 1 for count in runs.values())
    return again >= _LOOP_SHARE * sum(runs.values())


def same_on_many(texts: Iterable[str], *, share: float = 0.3, at_least: int = 5) -> dict[str, int]:
    """{text key: number of clips} of captions that stand on suspiciously many clips: at least `at_least` of them and at
    least that share of all. A model that always says the same has not looked."""
    keys = [same_text_key(text) for text in texts if text]
    counts = Counter(keys)
    return {key: count for key, count in counts.items() if count >= max(at_least, share * len(keys))}


def _whole_sentences(text: str) -> str:
    *whole, last = split_sentences(text)
    if last[-1:] in ENDS:
        whole.append(last)
    return " ".join(whole) or text


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1].rstrip() + "…"

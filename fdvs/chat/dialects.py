"""What a server turned out to take: how pictures are sent, how a reply is bound to a schema, how limits are named.

No server says beforehand what it knows of, so the first request finds out. Each refusal that concerns one of these
leads one rung down, never up, so that finding out always ends. A refusal for another reason (too long, no such model)
leads nowhere: it is the request's outcome.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from enum import IntEnum

from fdvs.chat.registry import FramesAs


class Media(IntEnum):
    """How several pictures are sent, best first."""

    TIMED_VIDEO = 0
    VIDEO = 1
    IMAGES = 2


class Binding(IntEnum):
    """How a reply is bound to its schema, tightest first."""

    JSON_SCHEMA = 0
    JSON_OBJECT = 1
    NONE = 2


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to ask.

    Attributes:
        base: which of the server's possible addresses, by index.
        old_limit: the reply's limit is called `max_tokens`; else `max_completion_tokens`.
        sampling: temperature and seed may be given.
    """

    media: Media = Media.TIMED_VIDEO
    binding: Binding = Binding.JSON_SCHEMA
    base: int = 0
    old_limit: bool = True
    sampling: bool = True


@dataclass(frozen=True, slots=True)
class Uses:
    """What a request needs of a dialect: pictures as video, a bound reply. Of the rest it teaches nothing."""

    media: bool
    binding: bool

    def without(self, other: Uses) -> Uses:
        return Uses(self.media and not other.media, self.binding and not other.binding)

    def __or__(self, other: Uses) -> Uses:
        return Uses(self.media or other.media, self.binding or other.binding)

    def __bool__(self) -> bool:
        return self.media or self.binding


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's answer to a request that it did not carry out. `message` is its own words."""

    status: int
    message: str


def first_dialect(frames_as: FramesAs) -> Dialect:
    """Where finding out begins; `images` is where it ends at once."""
    return Dialect(media=Media.IMAGES if frames_as == "images" else Media.TIMED_VIDEO)


_STEPPING = frozenset({400, 415, 422})
_BY_WORD = frozenset({500, 501})  # some servers know no better status for a part they do not take
_NO_ROUTE = frozenset({404, 405})

_ELSEWHERE = re.compile(
    r"context (?:length|window|size)|context_length|maximum (?:model|context|input)|max_model_len|too (?:long|large)"
    r"|exceed|longer than|api key|quota|billing|model[^.]{0,80}(?:does not exist|not found|not supported here)"
)
_KWARGS = re.compile(r"media_io_kwargs|mm[_-](?:processor[_-])?kwargs")
_MEDIA = re.compile(
    r"video|image|num_frames|frames_indices|multi-?modal|modalit"
    r"|unknown part type|content\[\]|content (?:part|type)|message format"
)
_NO_VIDEO = re.compile(r"at most 0 video|video_url|unknown part type|content\[\]\.type|no video|video input")
_BINDING = re.compile(r"response_format|json_schema|json_object|structured|guided|grammar|schema")
_LIMIT = re.compile(r"max_completion_tokens")
_SAMPLING = re.compile(r"temperature|'seed'|\bseed\b")
_UNSUPPORTED = re.compile(r"unsupported|not support|instead|unrecogni[sz]ed|unknown|not permitted|not allowed|extra")


def step(
    dialect: Dialect, refusal: Refusal, uses: Uses, *, guesses: Uses, num_bases: int, frames_as: FramesAs
) -> Dialect | None:
    """The next way to ask after `refusal`, or None where another way would not help.

    Args:
        guesses: what of `uses` may be to blame where the server does not say what it refuses: what never went well.
        num_bases: how many addresses there are to try.
        frames_as: `video`: pictures are never sent one by one.
    """
    words, status = refusal.message.lower(), refusal.status
    if status in _NO_ROUTE:
        is_last = dialect.base + 1 >= num_bases or "model" in words
        return None if is_last else replace(dialect, base=dialect.base + 1)
    if status not in _STEPPING | _BY_WORD or _ELSEWHERE.search(words):
        return None
    named = _named(dialect, words, uses, frames_as)
    if named is not None or status in _BY_WORD or any(one.search(words) for one in (_KWARGS, _MEDIA, _BINDING)):
        return named
    # The server does not say what it refuses. The binding goes first: replies are parsed strictly either way.
    return _looser(dialect, guesses) or _lower_media(dialect, words, guesses, frames_as)


def _named(dialect: Dialect, words: str, uses: Uses, frames_as: FramesAs) -> Dialect | None:
    """A rung lower in what a refusal names."""
    lacks = _UNSUPPORTED.search(words)
    if dialect.old_limit and lacks and _LIMIT.search(words):
        return replace(dialect, old_limit=False)
    if dialect.sampling and lacks and _SAMPLING.search(words):
        return replace(dialect, sampling=False)
    if _BINDING.search(words) and (looser := _looser(dialect, uses)) is not None:
        return looser
    if _MEDIA.search(words) or _KWARGS.search(words):
        return _lower_media(dialect, words, uses, frames_as)
    return None


def _looser(dialect: Dialect, uses: Uses) -> Dialect | None:
    can_be = uses.binding and dialect.binding < Binding.NONE
    return replace(dialect, binding=Binding(dialect.binding + 1)) if can_be else None


def is_refusal(status: int) -> bool:
    """True for a status that can mean: not in this way."""
    return status in _STEPPING | _BY_WORD | _NO_ROUTE


def is_plain(refusal: Refusal) -> bool:
    """True when a refusal names what is not taken, so that it holds for all requests, whatever becomes of this one."""
    words = refusal.message.lower()
    named = any(pattern.search(words) for pattern in (_KWARGS, _NO_VIDEO, _LIMIT, _BINDING))
    return named and _ELSEWHERE.search(words) is None


def _lower_media(dialect: Dialect, words: str, uses: Uses, frames_as: FramesAs) -> Dialect | None:
    last = Media.VIDEO if frames_as == "video" else Media.IMAGES
    if not uses.media or dialect.media >= last:
        return None
    has_no_video = _NO_VIDEO.search(words) and not _KWARGS.search(words)
    return replace(dialect, media=last if has_no_video else Media(dialect.media + 1))


def learnt(found: Dialect, before: Dialect, after: Dialect) -> Dialect:
    """`found`, lowered in what differs between `before` and `after`."""
    changes = {
        item.name: getattr(after, item.name)
        for item in fields(Dialect)
        if getattr(before, item.name) != getattr(after, item.name)
    }
    return joined(found, replace(found, **changes))


def proven(found: Dialect, mine: Dialect, uses: Uses) -> Dialect:
    """`found`, lowered to `mine` in what a request that went well shows: all but what it did not use."""
    shown = replace(
        mine,
        media=mine.media if uses.media else found.media,
        binding=mine.binding if uses.binding else found.binding,
    )
    return joined(found, shown)


def joined(mine: Dialect, found: Dialect) -> Dialect:
    """The lower rung of each: what is known by now of this server, from this request or from others."""
    return Dialect(
        media=max(mine.media, found.media),
        binding=max(mine.binding, found.binding),
        base=max(mine.base, found.base),
        old_limit=mine.old_limit and found.old_limit,
        sampling=mine.sampling and found.sampling,
    )


def differences(dialect: Dialect, first: Dialect) -> list[str]:
    """In words for people, what a server does not take that was tried first."""
    told = []
    if dialect.media is not first.media:
        told.append(
            {
                Media.VIDEO: "it takes video, but no frame times (only the prompt tells them)",
                Media.IMAGES: "it takes no video: frames are sent as single images",
            }.get(dialect.media, "")
        )
    if dialect.binding is not first.binding:
        told.append(
            "replies cannot be bound to a schema"
            + (", only to JSON" if dialect.binding is Binding.JSON_OBJECT else ": they are only asked for in words")
        )
    if dialect.old_limit != first.old_limit:
        told.append("the limit of a reply is called max_completion_tokens")
    if dialect.sampling != first.sampling:
        told.append("temperature and seed cannot be set: equal requests may get different replies")
    return told

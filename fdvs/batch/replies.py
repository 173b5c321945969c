"""Replies of a story's writer, kept as they come and counted in the same transaction."""

from __future__ import annotations

from collections.abc import Callable

from fdvs.chat.base import NO_USAGE, ChatReply
from fdvs.store.costs import STORY, Cost
from fdvs.store.library import Store
from fdvs.stories.writing_report import WriterReport


class CountedReplies:
    """`Replies` of one video's story.

    Args:
        key: of the story that they are for.
        on_reply: called after each new one.
    """

    def __init__(self, store: Store, video_id: str, key: str, on_reply: Callable[[], None]) -> None:
        self._store, self._video_id, self._key, self._on_reply = store, video_id, key, on_reply
        self._counted = NO_USAGE

    def get(self, key: str) -> ChatReply | None:
        return self._store.reply(self._video_id, key)

    def put(self, key: str, reply: ChatReply) -> None:
        with self._store.writing():
            self._store.put_reply(self._video_id, key, reply)
            self._store.add_cost(self._video_id, STORY, self._key, Cost(usage=reply.usage))
        self._counted += reply.usage
        self._on_reply()

    def finish(self, written: WriterReport) -> None:
        """Count what else the story took: its time, and requests of which nothing is kept."""
        cost = Cost(seconds=written.seconds, usage=written.usage - self._counted)
        self._store.add_cost(self._video_id, STORY, self._key, cost)

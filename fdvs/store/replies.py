"""What models replied when they wrote about a video: kept reply by reply, so that a crash costs no more than those
that were on their way."""

from __future__ import annotations

import dataclasses
import json

from fdvs.chat.base import ChatReply, Finish, Usage
from fdvs.errors import InputError
from fdvs.store.database import Database
from fdvs.store.rows import json_column, text_column


class ReplyRows(Database):
    """Operations on replies. A key stands for the model and the whole request."""

    def put_reply(self, video_id: str, key: str, reply: ChatReply) -> None:
        """Keep a reply with text, in a transaction of its own.

        Raises:
            InputError: the reply was refused or failed.
        """
        if reply.finish not in (Finish.STOP, Finish.LENGTH):
            raise InputError(f"a reply that {reply.finish} is not kept")
        row = (
            video_id,
            key,
            text_column(reply.text),
            str(reply.finish),
            text_column(reply.reason),
            json_column(dataclasses.asdict(reply.usage)),
        )
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)", row)

    def reply(self, video_id: str, key: str) -> ChatReply | None:
        """The kept reply, with what it took when it came; None where there is none."""
        with self.reading() as db:
            found = db.execute(
                "SELECT text, finish, reason, usage_json FROM replies WHERE video_id = ? AND key = ?", (video_id, key)
            ).fetchone()
        if found is None:
            return None
        text, finish, reason, usage = found
        return ChatReply(text, Finish(finish), reason, usage=Usage(**json.loads(usage)))

    def replies(self, video_id: str) -> VideoReplies:
        """The replies about one stored video, for whoever asks a model about it."""
        return VideoReplies(self, video_id)

    def num_replies(self, video_id: str) -> int:
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM replies WHERE video_id = ?", (video_id,)).fetchone()[0])


@dataclasses.dataclass(frozen=True, slots=True)
class VideoReplies:
    """The replies about one video, by key: what `stories.asking.Replies` asks for."""

    store: ReplyRows
    video_id: str

    def get(self, key: str) -> ChatReply | None:
        return self.store.reply(self.video_id, key)

    def put(self, key: str, reply: ChatReply) -> None:
        self.store.put_reply(self.video_id, key, reply)

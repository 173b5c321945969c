"""Replies of models in a library."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fdvs.chat.base import ChatReply, Finish, Usage
from fdvs.errors import InputError, StoreError
from fdvs.store.library import Store
from fdvs.store.migrations import MIGRATIONS, migrate
from fdvs.stories.asking import Replies
from fdvs.stories.tree import build_story
from tests.chat.scripted import ScriptedChat, failed, refused
from tests.store.samples import video
from tests.stories.films import SETTINGS, BagOfWords, film, picture, video_of
from tests.stories.retelling import retell

REPLY = ChatReply('{"title": "Ein Café"}\n', Finish.STOP, usage=Usage(2, 1, 30, 4, 0, 0.25))
CUT_OFF = ChatReply("{", Finish.LENGTH, "too long")


def test_replies_come_back_as_they_were_kept_for_their_video_and_key() -> None:
    of, other = video(), video("other.mp4", "b")
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_video(other)
        replies: Replies = store.replies(of.id)
        assert replies.get("k") is None
        replies.put("k", REPLY)
        replies.put("l", CUT_OFF)
        assert (replies.get("k"), replies.get("l")) == (REPLY, CUT_OFF)
        assert store.replies(other.id).get("k") is None
        replies.put("k", CUT_OFF)
        assert replies.get("k") == CUT_OFF
        assert (store.num_replies(of.id), store.num_replies(other.id)) == (2, 0)


@pytest.mark.parametrize("reply", [refused(), failed()])
def test_what_was_refused_or_failed_is_not_kept(reply: ChatReply) -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        with pytest.raises(InputError, match="is not kept"):
            store.put_reply(of.id, "k", reply)
        assert store.num_replies(of.id) == 0


def test_a_reply_about_an_unknown_video_is_refused() -> None:
    with Store.in_memory() as store, pytest.raises(StoreError):
        store.put_reply("nobody", "k", REPLY)


def test_text_that_no_database_holds_is_kept_as_far_as_it_can_be() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_reply(of.id, "k", ChatReply("a\ud800b", Finish.STOP))
        assert store.replies(of.id).get("k") == ChatReply("a\ufffdb", Finish.STOP)


def test_a_forgotten_video_leaves_no_replies() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_reply(of.id, "k", REPLY)
        store.forget(of.id)
        assert store.num_replies(of.id) == 0


def test_a_filled_library_without_replies_is_migrated_with_its_rows(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    before = [step for step in MIGRATIONS if step.name < "m006_replies"]
    migrate(db, before)
    db.execute("INSERT INTO videos VALUES ('v1', 'a.mp4', 5, 6, NULL)")
    assert "m006_replies" in migrate(db)
    assert db.execute("SELECT name FROM videos").fetchall() == [("a.mp4",)]
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("INSERT INTO replies VALUES ('v1', 'k', 't', 'stop', '', '{}')")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO replies VALUES ('v1', 'l', '', 'failed', '', '{}')")
    db.execute("DELETE FROM videos")
    assert db.execute("SELECT count(*) FROM replies").fetchone() == (0,)
    db.close()


def test_a_story_that_is_told_again_after_a_restart_asks_nothing(tmp_path: Path) -> None:
    clips = film([f"A woman walks with {i} dogs." for i in range(12)], pictures=lambda i: picture(i // 6))
    of = video_of(clips)
    model = ScriptedChat(retell, shuffled=5)
    with Store.open(tmp_path, create=True) as store:
        store.put_video(of)
        first = build_story(of, clips, SETTINGS, BagOfWords(), model=model, replies=store.replies(of.id))
        assert store.num_replies(of.id) == len(model.requests) > 3
    model.close()
    with Store.open(tmp_path, create=False) as store:
        again = build_story(of, clips, SETTINGS, BagOfWords(), model=ScriptedChat([]), replies=store.replies(of.id))
    assert again.nodes == first.nodes

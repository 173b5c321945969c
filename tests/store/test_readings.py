from __future__ import annotations

import pytest

from fdvs.errors import NotFoundError
from fdvs.records import Span
from fdvs.screen_text.readings import Reading, ReadLine
from fdvs.store.library import Store
from tests.store.samples import clip_row, video

READ = Reading(Span(0, 2000), 1500, (ReadLine("Ergebnisse \ud800", 0.97, (1, 2, 3, 4)),), "read")
SAME = Reading(Span(2000, 4000), -1, (), "same")


def test_readings_come_back_under_their_own_key_with_the_state_behind_them() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        rows = [clip_row(of, n) for n in range(2)]
        for row, reading in zip(rows, (READ, SAME), strict=True):
            store.put_clip("c", row)
            state = bytes([0, 10, row.ordinal])
            store.put_readings(of.id, "c", row.ordinal, [reading], readings_hash="r", state=state)
        assert store.reading_state(of.id, "c", "r") == (2, b"\x00\x0a\x01")
        found = store.stored_readings(of.id, "c", "r")
        assert list(found) == [row.clip.id for row in rows]
        assert found[rows[0].clip.id][0].lines[0].text == "Ergebnisse \ufffd"
        assert found[rows[1].clip.id] == (SAME,)
        assert store.stored_readings(of.id, "c", "other") == {}
        assert store.reading_state(of.id, "c", "other") == (0, b"")
        store.put_readings(of.id, "c", 0, [], readings_hash="r", state=b"x")
        assert store.stored_readings(of.id, "c", "r")[rows[0].clip.id] == ()
        assert store.reading_state(of.id, "c", "r") == (1, b"x")


def test_readings_of_an_unknown_clip_are_refused_and_leave_nothing() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        with pytest.raises(NotFoundError, match="no clip 3 of video"):
            store.put_readings(of.id, "c", 3, [READ], readings_hash="r", state=b"")
        assert store.reading_state(of.id, "c", "r") == (0, b"")


def test_a_forgotten_video_leaves_no_readings() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_clip("c", clip_row(of, 0))
        store.put_readings(of.id, "c", 0, [READ], readings_hash="r", state=b"x")
        store.forget(of.id)
        assert store.stored_readings(of.id, "c", "r") == {}
        assert store.reading_state(of.id, "c", "r") == (0, b"")

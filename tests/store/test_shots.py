"""Signs of shot borders in a library."""

from __future__ import annotations

from fdvs.media.signs import Signs
from fdvs.store.library import Store
from tests.store.samples import video

FIRST = Signs((40, 120), (200, 210), ((0, True), (16, False)))
SECOND = Signs((900,), (), ())


def test_signs_come_back_as_they_were_stored_in_order() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_signs(of.id, "k1", 1, SECOND)
        assert store.signs(of.id, "k1") == []  # the first portion is missing, so nothing is known up to it
        store.put_signs(of.id, "k1", 0, FIRST)
        assert store.signs(of.id, "k1") == [FIRST, SECOND]


def test_signs_found_another_way_take_the_place_of_earlier_ones() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_signs(of.id, "k1", 0, FIRST)
        store.put_signs(of.id, "k2", 0, SECOND)
        assert (store.signs(of.id, "k1"), store.signs(of.id, "k2")) == ([], [SECOND])


def test_a_forgotten_video_leaves_no_signs() -> None:
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        store.put_signs(of.id, "k1", 0, FIRST)
        store.forget(of.id)
        store.put_video(of)
        assert store.signs(of.id, "k1") == []

"""What stages took: added up over runs, told by video and stage, gone with the video."""

from __future__ import annotations

from fdvs.chat.base import Usage
from fdvs.store.costs import Cost
from fdvs.store.library import Store
from tests.store.samples import video

USAGE = Usage(requests=3, retries=1, tokens_in=100, tokens_out=20, images=8, seconds=1.5)


def test_costs_add_up_over_runs_and_over_what_they_were_made_with() -> None:
    with Store.in_memory() as store:
        one = video()
        store.put_video(one)
        store.add_cost(one.id, "captions", "prompt-1", Cost(1.0, 0.5, USAGE))
        store.add_cost(one.id, "captions", "prompt-1", Cost(1.0, 0.5, USAGE))
        store.add_cost(one.id, "captions", "prompt-2", Cost(2.0))
        store.add_cost(one.id, "frames", "f", Cost(4.0))
        assert store.costs() == {one.id: {"captions": Cost(4.0, 1.0, USAGE + USAGE), "frames": Cost(4.0)}}


def test_costs_go_with_their_transaction_and_with_their_video() -> None:
    with Store.in_memory() as store:
        one = video()
        store.put_video(one)
        try:
            with store.writing():
                store.add_cost(one.id, "captions", "p", Cost(1.0))
                raise RuntimeError
        except RuntimeError:
            pass
        assert store.costs() == {}
        store.add_cost(one.id, "captions", "p", Cost(1.0))
        store.forget(one.id)
        assert store.costs() == {}

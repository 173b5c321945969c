"""Links across videos in a library: what a build finds, what forgetting leaves, in whatever order videos come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fdvs.batch import comparing
from fdvs.batch.linking import refresh_links, update_links
from fdvs.records import Clip, Level, Span, StoryNode, Video, content_id
from fdvs.redundancy.alignment import Track, align
from fdvs.redundancy.layout import layouts_of
from fdvs.redundancy.links import Alignment
from fdvs.store.clips import ClipRow
from fdvs.store.library import Store
from tests.redundancy.pictures import Pixels, room

CLIP_MS = 2000


def tell(store: Store, video_id: str, seeds: Sequence[int], *, noise: float = 0.0, clips_hash: str = "c") -> None:
    """A told video with a clip of four samples for each picture."""
    duration_ms = CLIP_MS * len(seeds)
    store.put_video(Video(video_id, f"{video_id}.mp4", duration_ms))
    for i, seed in enumerate(seeds):
        span = Span(CLIP_MS * i, CLIP_MS * (i + 1))
        clip = Clip(content_id("clip", video_id, i), video_id, span, span.start_ms, _times(span))
        pixels: Pixels = np.stack([room(seed, noise=noise)] * 4)
        store.put_clip(clips_hash, ClipRow(i, clip, layouts=layouts_of(pixels)))
    root = StoryNode(f"video-{video_id}", Level.VIDEO, None, (), Span(0, duration_ms), "", (), "w")
    store.put_story(video_id, "s", {}, [root], vectors={}, model="m", clips_hash=clips_hash, captions_hash=clips_hash)


def _times(span: Span) -> tuple[int, ...]:
    return tuple(span.start_ms + 500 * i for i in range(4))


FILMS = {
    "a": (range(8), 0.0),
    "b": (range(8), 3.0),
    "c": ([*range(50, 60), *range(2, 7)], 2.0),
    "d": (range(100, 112), 0.0),
}


def filled(names: Sequence[str], *, update_after_each: bool) -> Store:
    store = Store.in_memory()
    for name in names:
        seeds, noise = FILMS[name]
        tell(store, name, list(seeds), noise=noise)
        if update_after_each:
            update_links(store)
    update_links(store)
    return store


def test_a_build_links_twins_and_excerpts() -> None:
    store = filled("abcd", update_after_each=False)
    groups = store.links()
    assert [(g.representative_video_id, [m.video_id for m in g.members]) for g in groups] == [
        ("a", ["b"]),
        ("a", ["c"]),
    ]
    assert [m.rule for g in groups for m in g.members] == ["reencoding", "shared"]
    assert groups[1].members[0].span == Span(20_000, 30_000)
    assert store.linked() == dict.fromkeys("abcd", "c")


@pytest.mark.parametrize("names", ["abcd", "dcba", "cadb"])
def test_links_are_the_same_in_whatever_order_videos_come(names: str) -> None:
    assert filled(names, update_after_each=True).links() == filled("abcd", update_after_each=False).links()


def test_only_what_is_new_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled("abc", update_after_each=False)
    asked: list[tuple[str, str]] = []

    def noted(one: Track, other: Track) -> list[Alignment]:
        asked.append((one.video_id, other.video_id))
        return align(one, other)

    monkeypatch.setattr(comparing, "align", noted)
    update_links(store)
    assert asked == []
    tell(store, "e", list(range(8)))
    update_links(store)
    assert asked == [("a", "e"), ("b", "e"), ("c", "e")]


def test_a_video_that_changed_is_compared_again() -> None:
    store = filled("abd", update_after_each=False)
    assert store.links()
    tell(store, "b", list(range(200, 208)), clips_hash="other")
    update_links(store)
    assert store.links() == ()


def test_batches_do_not_change_the_links(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = filled("abcd", update_after_each=False).links()
    monkeypatch.setattr(comparing, "BATCH_FRAMES", 1)
    assert filled("abcd", update_after_each=False).links() == wanted


def test_forgetting_the_representative_leaves_the_links_between_the_others() -> None:
    store = filled("abc", update_after_each=False)
    store.forget("a")
    refresh_links(store)
    (group,) = store.links()
    assert (group.representative_video_id, [m.video_id for m in group.members]) == ("b", ["c"])
    store.forget("c")
    refresh_links(store)
    assert store.links() == ()
    assert store.aligned() == []


def test_videos_without_layouts_take_no_part() -> None:
    store = filled("a", update_after_each=False)
    video = Video("z", "z.mp4", 1000)
    store.put_video(video)
    root = StoryNode("video-z", Level.VIDEO, None, (), Span(0, 1000), "", (), "w")
    store.put_story("z", "s", {}, [root], vectors={}, model="m", clips_hash="c", captions_hash="c")
    update_links(store)
    assert store.linked() == {"a": "c"}
    assert store.links() == ()


def test_the_first_video_of_a_library_needs_no_numpy(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        tell(store, "a", range(8))
    code = (
        "import sys; from pathlib import Path; from fdvs.batch.linking import update_links; "
        "from fdvs.store.library import Store; store = Store.open(Path(sys.argv[1]), create=False); "
        "update_links(store); print(sorted(store.linked()), 'numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["['a']", "False"]

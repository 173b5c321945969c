"""Builds with shot cuts: clips begin at shots, nothing is looked through twice, kills do no harm."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from fdvs.batch import shots
from fdvs.batch.shots import stored_or_found_cuts
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.media.shots import look_for_signs, portions
from fdvs.media.signs import Signs
from fdvs.settings import LimitSettings
from fdvs.store.library import Store
from tests.batch.commands import HANG_S, Running, assert_sound, exported, fdvs, stored_clips, wait_until
from tests.media.shot_films import FRAME_MS, cut_film, render_pictures
from tests.media_files import x264
from tests.store.samples import video

PORTION_S = 2.0
ON = ("--shot-cuts", "on", "--set", "clips.min_clip_s=0", "--set", "clips.max_clip_s=0.4")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_pictures(tmp_path_factory.mktemp("shots") / "film.mp4", cut_film().pictures, x264(25))


class Stopped(Exception):
    """A build that was killed while a portion was looked through."""


def test_each_portion_is_looked_through_once_however_often_it_is_stopped(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, index = probe(film, LimitSettings())
    looked: list[int] = []
    stop_at: set[int] = set()
    look = look_for_signs

    def look_or_stop(path: Path, index: PacketIndex, begin: int, end: int) -> Signs:
        if begin in stop_at:
            stop_at.discard(begin)
            raise Stopped
        looked.append(begin)
        return look(path, index, begin, end)

    monkeypatch.setattr(shots, "look_for_signs", look_or_stop)
    begins = portions(index, PORTION_S)
    assert len(begins) > 3
    of = video()
    with Store.in_memory() as store:
        store.put_video(of)
        stop_at.update(begins[1:3])
        for _ in range(2):
            with pytest.raises(Stopped):
                stored_or_found_cuts(store, of.id, film, index, PORTION_S)
        found = stored_or_found_cuts(store, of.id, film, index, PORTION_S)
        assert [index.ms(cut.pts) // FRAME_MS for cut in found] == list(cut_film().cuts)
        assert looked == begins
        assert stored_or_found_cuts(store, of.id, film, index, PORTION_S) == found
        assert looked == begins


def test_clips_begin_at_the_cuts(film: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    ended = fdvs("build", film, "-L", library, "--shot-cuts", "on", "--set", "clips.min_clip_s=0", "--json")
    assert ended.code == 0, ended.err
    (row,) = ended.rows.values()
    assert row["clips_done"] == row["clips_total"] == len(cut_film().cuts) + 1
    with Store.open(library, create=False) as store:
        told = store.told_clips(row["video_id"])
        assert [row.clip.span.start_ms // FRAME_MS for row in told] == [0, *cut_film().cuts]


def test_the_number_of_clips_is_unknown_until_shots_were_looked_for(film: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    totals = []
    for more in (["--dry-run"], ["--until", "probe"], ["--until", "clips"]):
        ended = fdvs("build", film, "-L", library, *ON, "--json", *more)
        assert ended.code == 0, ended.err
        totals += [row["clips_total"] for row in ended.rows.values()]
    assert totals[:2] == [None, None]
    assert totals[2] > len(cut_film().cuts)


def test_a_killed_build_ends_as_an_uninterrupted_one(film: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert fdvs("build", film, "-L", whole, *ON).code == 0
    with Running("build", film, "-L", killed, *ON) as running:
        wait_until(lambda: stored_clips(killed) >= 3, unless=lambda: not running.runs)
        running.signal_group(signal.SIGKILL)
        running.process.wait(timeout=HANG_S)
    assert_sound(killed)
    assert fdvs("build", film, "-L", killed, *ON).code == 0
    assert exported(killed, tmp_path / "b") == exported(whole, tmp_path / "a")


def test_key_frames_alone_hold_no_shots(film: Path, tmp_path: Path) -> None:
    ended = fdvs("build", film, "-L", tmp_path / "library", "--shot-cuts", "on", "--frames", "keyframes")
    assert ended.code == 2
    assert "pick one" in ended.err

"""Everything that can be wrong with an input, in one build: each gets its own clear end, and the good ones are done."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import pytest

from fdvs.batch.jobs import Event, Job
from fdvs.batch.report import StatusRow
from fdvs.batch.worker import handle
from fdvs.pipeline import hash_file
from fdvs.records import ERROR_CODES, State
from fdvs.settings import load_settings
from fdvs.store.library import Store
from tests.batch.commands import (
    MANY_CLIPS,
    NO_READING,
    Ended,
    Running,
    Watched,
    assert_sound,
    children,
    fdvs,
    is_alive,
    render_film,
    stopped_midway,
    stored_clips,
    wait_until,
)
from tests.conftest import Once
from tests.media_files import RECIPES, Film, render, x264

# Root reads every file; without these two rights it is a user like any other.
_RIGHTS = "-dac_override,-dac_read_search"
AS_USER = () if os.geteuid() else ("setpriv", f"--bounding-set={_RIGHTS}", f"--inh-caps={_RIGHTS}")
needs_setpriv = pytest.mark.skipif(
    not os.geteuid() and shutil.which("setpriv") is None, reason="root can read every file here, and setpriv is missing"
)

ODD_NAMES = (
    b"line\nbreak\r.mp4",
    b"quotes'\"`$(x).mp4",
    b"-dash.mp4",
    "right\u202eto\u2067left.mp4".encode(),
    b"escape\x1b[31m.mp4",
    b"not\xffutf8\xc3.mp4",
    "видео 日本 😀.mp4".encode(),
    b"percent%20?#.mp4",
    ("日" * 83).encode() + b".mp4",  # as long as a name can be
)
DAMAGED_BUT_DONE = ("cut_faststart.mp4", "flipped.mkv")
WRONG = {
    "empty.mp4": "empty_file",
    "letter.mp4": "not_media",
    "concat.mp4": "not_media",
    "cut_no_index.mp4": "truncated",
    "no_pictures.mkv": "damaged",
    "audio.mp4": "no_video_stream",
    "cover.mp4": "no_video_stream",
    "cover.mp3": "no_video_stream",
    "locked.mp4": "unreadable",
    "pipe.mp4": "unreadable",
    "loop.mp4": "unreadable",
    "dangling.mp4": "not_found",
    "missing.mp4": "not_found",
    "huge.ivf": "limit",
    "years.mp4": "limit",
}
PLAIN = ("--set", NO_READING)
# Found to be wrong before any worker is started.
SEEN_AT_ONCE = ("pipe.mp4", "loop.mp4", "dangling.mp4", "missing.mp4")


@dataclass(frozen=True)
class Hostile:
    """A folder with all kinds of files, and a build over it."""

    folder: Path
    library: Path
    built: Ended

    def path(self, *names: str | bytes) -> str:
        return str(self.folder.joinpath(*map(os.fsdecode, names)))

    def row(self, *names: str | bytes) -> dict[str, Any]:
        return self.built.rows[self.path(*names)]


def small_film(path: Path, number: int) -> None:
    render(path, x264(num_frames=10, first_number=number, size=(64, 36)), format="mp4")


def huge_film(path: Path) -> None:
    """Two kilobytes that say that their pictures are 16383 × 16383 pixels large (VP8 knows nothing larger)."""
    film = Film("libvpx", num_frames=2, options={"deadline": "realtime", "cpu-used": "8", "b": "500000"})
    render(path, film, format="ivf")
    data = bytearray(path.read_bytes())
    struct.pack_into("<HH", data, 12, 16383, 16383)  # in the header of the file
    struct.pack_into("<HH", data, 32 + 12 + 6, 16383, 16383)  # in that of the first picture
    path.write_bytes(data)


def film_without_pictures(path: Path) -> None:
    """A whole container, whose pictures are noise."""
    source = RECIPES["h264_mkv"](path.parent).path
    data = bytearray(source.read_bytes())
    source.unlink()
    first = data.index(b"\x1f\x43\xb6\x75")  # the first cluster
    for at in range(first + 40, len(data) - 200):
        data[at] = data[at] * 167 % 251 ^ 0x5A
    path.write_bytes(data)


def fill(folder: Path) -> None:
    """All inputs. Links and a locked file included; `missing.mp4` is named by the build only."""
    made = folder.parent / "made"
    made.mkdir()

    def take(recipe: str, name: str) -> None:
        RECIPES[recipe](made).path.rename(folder / name)

    take("h264_mp4", "good.mp4")
    take("zero_bytes_mp4", "empty.mp4")
    take("text_mp4", "letter.mp4")
    take("truncated_faststart_mp4", "cut_faststart.mp4")
    take("truncated_without_index_mp4", "cut_no_index.mp4")
    take("damaged_bytes_mkv", "flipped.mkv")
    take("audio_only_m4a", "audio.mp4")
    take("cover_art_m4a", "cover.mp4")
    take("cover_art_mp3", "cover.mp3")
    film_without_pictures(folder / "no_pictures.mkv")
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    huge_film(folder / "huge.ivf")
    years = x264(num_frames=2, b_frames=0, size=(64, 36), pts=(0, 400_000), time_base=Fraction(1))
    render(folder / "years.mp4", years, options={"video_track_timescale": "1"})
    for name in ("folder.mp4", "a", "b"):
        (folder / name).mkdir()
    for number, place in enumerate(("folder.mp4/inside.mp4", "a/same.mp4", "b/same.mp4")):
        small_film(folder / place, 20 + number)
    for number, odd in enumerate(ODD_NAMES):
        small_film(made / "odd.mp4", 40 + number)
        (made / "odd.mp4").rename(folder / os.fsdecode(odd))
    shutil.copy(folder / "good.mp4", folder / "copy.mp4")
    (folder / "hard.mp4").hardlink_to(folder / "good.mp4")
    (folder / "soft.mp4").symlink_to("good.mp4")
    (folder / "around").symlink_to(".")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    small_film(folder / "locked.mp4", 70)
    (folder / "locked.mp4").chmod(0)
    os.mkfifo(folder / "pipe.mp4")


@pytest.fixture(scope="session")
def hostile(once: Once) -> Hostile:
    def make(top: Path) -> None:
        folder = top / "inputs"
        folder.mkdir()
        fill(folder)
        named = [folder / name for name in ("cover.mp3", "missing.mp4")]
        ended = fdvs("build", folder, *named, "-L", top / "library", *PLAIN, "--json", before=AS_USER)
        (top / "ended.json").write_text(json.dumps([ended.code, ended.out, ended.err]))

    top = once("hostile-inputs", make)
    return Hostile(top / "inputs", top / "library", Ended(*json.loads((top / "ended.json").read_text())))


@needs_setpriv
def test_every_wrong_input_is_one_failed_row_with_its_own_code(hostile: Hostile) -> None:
    found = {name: hostile.row(name) for name in WRONG}
    assert {name: (row["error"] or {}).get("code") for name, row in found.items()} == WRONG
    for name, row in found.items():
        assert row["state"] == "failed"
        assert name in row["error"]["message"]
        assert "\n" not in row["error"]["message"]


@needs_setpriv
def test_a_build_with_some_failures_ends_with_3_and_shows_no_traceback(hostile: Hostile) -> None:
    assert hostile.built.code == 3
    assert "Traceback" not in hostile.built.err
    summary = json.loads(hostile.built.out)["summary"]
    assert (summary["failed"], summary["skipped"]) == (len(WRONG), 0)
    assert summary["done"] == len(hostile.built.rows) - len(WRONG)


def test_good_inputs_are_done_whatever_their_names(hostile: Hostile) -> None:
    good: list[tuple[str | bytes, ...]] = [("good.mp4",), ("folder.mp4", "inside.mp4"), ("a", "same.mp4")]
    good += [("b", "same.mp4"), *((name,) for name in ODD_NAMES)]
    for names in good:
        row = hostile.row(*names)
        assert (row["state"], row["error"], row["warnings"]) == ("done", None, []), names
        assert row["video"] == os.fsdecode(names[-1])
        assert row["clips_done"] == row["clips_total"] > 0
    assert len({hostile.row(*names)["video_id"] for names in good}) == len(good)


def test_damaged_but_decodable_films_are_done_with_warnings(hostile: Hostile, tmp_path: Path) -> None:
    for name in DAMAGED_BUT_DONE:
        row = hostile.row(name)
        assert row["state"] == "done", name
        assert row["warnings"], name
    films = [hostile.folder / name for name in DAMAGED_BUT_DONE]
    report = Watched(tmp_path / "library", *films).build("captions.screen_text=on")  # and their damage is looked at
    assert [(row.state, bool(row.warnings)) for row in report.rows] == [(State.DONE, True)] * len(films)


def test_one_content_under_four_paths_is_one_video(hostile: Hostile) -> None:
    names = ("good.mp4", "copy.mp4", "hard.mp4", "soft.mp4")
    assert {hostile.row(name)["state"] for name in names} == {"done"}
    assert len({hostile.row(name)["video_id"] for name in names}) == 1
    with Store.open(hostile.library, create=False) as store:
        video = store.video(hostile.row("good.mp4")["video_id"])
        assert video.paths == tuple(sorted(hostile.path(name) for name in names))
        assert video.name == "copy.mp4"  # of the first path


def test_a_link_that_leads_back_gives_no_second_rows(hostile: Hostile) -> None:
    assert not [path for path in hostile.built.rows if "around" in path]


def test_a_pointer_file_never_opens_what_it_points_to(hostile: Hostile) -> None:
    assert hostile.row("concat.mp4")["video_id"] is None
    with Store.open(hostile.library, create=False) as store:
        assert all("concat.mp4" not in video.name for video in store.videos())


def test_status_shows_odd_names_on_one_safe_line_each(hostile: Hostile) -> None:
    shown = fdvs("status", "-L", hostile.library)
    assert (shown.code, shown.err) == (0, "")
    assert not any(char in shown.out for char in "\u202e\u2067\x1b\r")
    # One line per path, below it one for each error and warning.
    rows = hostile.built.rows.values()
    assert len(shown.out.splitlines()) == len(rows) + sum(bool(row["error"]) + len(row["warnings"]) for row in rows)
    as_json = fdvs("status", "-L", hostile.library, "--json")
    assert as_json.rows == hostile.built.rows


def test_every_story_is_exported_under_a_safe_name(hostile: Hostile, tmp_path: Path) -> None:
    ended = fdvs("export", "--all", "-L", hostile.library, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    names = [path.name for path in (tmp_path / "out").iterdir()]
    done = {row["video_id"] for row in hostile.built.rows.values() if row["state"] == "done"}
    assert len(names) == len(done)
    assert all(name.isprintable() and "/" not in name and not name.startswith(".") for name in names)


def test_a_second_build_starts_no_work_and_still_ends_with_3(hostile: Hostile) -> None:
    inputs = (hostile.folder, hostile.folder / "cover.mp3")
    again = fdvs("build", *inputs, "-L", hostile.library, *PLAIN, "--json", before=AS_USER)
    assert again.code == 3
    assert not [line for line in again.err.splitlines() if line.startswith("[")]  # one for every worker that ended
    summary = json.loads(again.out)["summary"]
    assert summary["skipped"] == summary["done"] > 0
    old = {path: row for path, row in hostile.built.rows.items() if not path.endswith("missing.mp4")}
    assert again.rows == old


@pytest.fixture
def failed(tmp_path: Path) -> Watched:
    """A good film that is done and an empty one that failed."""
    small_film(tmp_path / "good.mp4", 1)
    (tmp_path / "empty.mp4").touch()
    watched = Watched(tmp_path / "library", tmp_path)
    report = watched.build()
    assert (report.exit_code, report.done, report.failed) == (3, 1, 1)
    return watched


def test_failed_inputs_are_tried_again_only_when_told_to_or_changed(failed: Watched, tmp_path: Path) -> None:
    assert failed.build().exit_code == 3
    assert failed.ends == {}
    assert failed.build(retry_failed=True).exit_code == 3
    assert list(failed.ends) == ["empty.mp4"]
    small_film(tmp_path / "empty.mp4", 2)
    assert failed.build().exit_code == 0
    assert list(failed.ends) == ["empty.mp4"]


def test_inputs_that_all_fail_end_with_1(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    library = tmp_path / "library"
    assert fdvs("build", tmp_path / "empty.mp4", tmp_path / "missing.mp4", "-L", library).code == 1
    ended = fdvs("build", tmp_path / "empty.mp4", "-L", library)  # failed before and not tried again
    assert (ended.code, "Traceback" in ended.err) == (1, False)
    (tmp_path / "nothing").mkdir()
    assert fdvs("build", tmp_path / "nothing", "-L", library).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["build", "x.mp4", "--nonsense"],
        ["build", "x.mp4", "--until", "never"],
        ["build", "x.mp4", "--jobs", "many"],
        ["build", "x.mp4", "--captioner", "nobody"],
        ["build", "x.mp4", "--set", "story.nothing=1"],
        ["build", "x.mp4", "--set", "clips.samples_per_clip=0"],
        ["build", "x.mp4", "--profile", "mine"],
        ["build", "x.mp4", "--engine", "steam"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_makes_nothing(arguments: list[str], tmp_path: Path) -> None:
    ended = fdvs(*arguments, cwd=tmp_path)
    assert ended.code == 2
    assert ended.err
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_be_and_writes_nothing(tmp_path: Path) -> None:
    small_film(tmp_path / "good.mp4", 1)
    (tmp_path / "empty.mp4").touch()
    ended = fdvs("build", tmp_path, "-L", tmp_path / "library", "--dry-run", "--json")
    assert ended.code == 3
    assert {Path(path).name: (row["state"], row["clips_total"]) for path, row in ended.rows.items()} == {
        "good.mp4": ("pending", 1),
        "empty.mp4": ("failed", None),
    }
    assert not (tmp_path / "library").exists()


# ---------------------------------------------------------------------------------------------------------------------
# One video's trouble stays its own


@pytest.fixture(scope="session")
def long_film(once: Once) -> Path:
    return once("long-film", lambda folder: render_film(folder / "long.mp4", 0)) / "long.mp4"


def test_a_video_over_its_time_limit_is_stopped(long_film: Path, tmp_path: Path) -> None:
    ended = fdvs("build", long_film, "-L", tmp_path / "library", *PLAIN, "--video-timeout", "0.1", "--json")
    assert ended.code == 1
    error = ended.rows[str(long_film)]["error"]
    assert error["code"] == "timeout"
    assert "--video-timeout" in error["message"]
    again = fdvs("build", long_film, "-L", tmp_path / "library", *PLAIN, "--retry-failed", "--json")
    assert (again.code, again.rows[str(long_film)]["state"]) == (0, "done")


HOLD = """
import sys
from pathlib import Path
from fdvs.batch.locks import Locks
locks = Locks(Path(sys.argv[1]))
locks.acquire(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(library: Path, video: Path) -> Iterator[None]:
    """Another process works on a video: a worker that probed it waits, until this block ends or it is killed."""
    library.mkdir()
    command = [sys.executable, "-c", HOLD, str(library), f"video:{hash_file(video)}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield


class Killing(Watched):
    """Kills the worker of one video as soon as it was probed."""

    def __init__(self, victim: str, number: signal.Signals, library: Path, *inputs: Path) -> None:
        super().__init__(library, *inputs, always=(NO_READING,))
        self.victim, self.number = victim, number
        self.others = set(children(os.getpid()))

    def on_event(self, name: str, event: Event) -> None:
        if name == self.victim and event.kind == "probed":
            (nursery,) = set(children(os.getpid())) - self.others
            (worker,) = children(nursery)
            os.kill(worker, self.number)
        super().on_event(name, event)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_worker_that_crashes_costs_its_own_video_only(
    number: signal.Signals, long_film: Path, tmp_path: Path
) -> None:
    for name in ("a.mp4", "z.mp4"):
        small_film(tmp_path / name, ord(name[0]))
    library = tmp_path / "library"
    with held(library, long_film):  # so that it cannot be over before it is killed
        watched = Killing("long.mp4", number, library, tmp_path / "a.mp4", long_film, tmp_path / "z.mp4")
        report = watched.build("run.jobs=1", MANY_CLIPS)
    rows = {row.video: row for row in report.rows}
    assert (rows["long.mp4"].state, rows["long.mp4"].code) == (State.FAILED, "crashed")
    assert number.name in rows["long.mp4"].message
    assert (rows["a.mp4"].state, rows["z.mp4"].state, report.exit_code) == (State.DONE, State.DONE, 3)
    unharmed = Watched(watched.library, *watched.inputs, always=watched.always)
    assert unharmed.build(MANY_CLIPS, retry_failed=True).exit_code == 0
    assert list(unharmed.ends) == ["long.mp4"]


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),
    ],
    ids=["Ctrl-C", "SIGINT", "SIGTERM", "SIGTERM-to-all"],
)
def test_a_stopped_build_ends_at_once_and_can_go_on(
    number: signal.Signals, to_all: bool, code: int, long_film: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"

    def stop(build: Running) -> Ended:
        workers = build.workers()
        if to_all:
            build.signal_group(number)
        else:
            build.process.send_signal(number)
        ended = build.wait()
        assert wait_until(lambda: not any(map(is_alive, workers)))
        return ended

    command = ("build", long_film, "-L", library, "--set", MANY_CLIPS)
    ended = stopped_midway(command, library, 100, stop)
    assert ended.code == code
    assert "Traceback" not in ended.err
    assert_sound(library)
    before = stored_clips(library)
    assert before > 0
    assert [row["state"] for row in fdvs("status", "-L", library, "--json").rows.values()] == ["pending"]
    watched = Watched(library, long_film)
    assert watched.build(MANY_CLIPS).exit_code == 0
    assert watched.decoded == 100 - before


# ---------------------------------------------------------------------------------------------------------------------
# Errors that only injection brings about


@pytest.fixture
def good_job(tmp_path: Path) -> Job:
    (tmp_path / "library").mkdir()
    small_film(tmp_path / "good.mp4", 3)
    return Job(str(tmp_path / "library"), str(tmp_path / "good.mp4"), load_settings(environ={}))


def row_of(job: Job) -> StatusRow:
    from fdvs.batch.build import status_rows

    with Store.open(Path(job.library), create=False) as store:
        (row,) = status_rows(store, Path(job.library))
    return row


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE], ids=errno.errorcode.__getitem__)
def test_a_file_that_the_system_refuses_is_unreadable(
    number: int, good_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = Path.open

    def refuse(self: Path, *args: Any, **more: Any) -> IO[Any]:
        if str(self) == good_job.path:
            raise OSError(number, os.strerror(number), str(self))
        opened: IO[Any] = really_open(self, *args, **more)
        return opened

    monkeypatch.setattr(Path, "open", refuse)
    ended = handle(good_job, lambda event: None)
    assert (ended.kind, ended.code) == ("failed", "unreadable")
    assert os.strerror(number) in ended.message
    row = row_of(good_job)
    assert (row.state, row.code, row.message) == (State.FAILED, "unreadable", ended.message)
    monkeypatch.undo()
    assert handle(good_job, lambda event: None).kind == "done"
    assert row_of(good_job).state is State.DONE


def test_a_file_that_goes_away_while_it_is_read_is_not_found(good_job: Job) -> None:
    def remove(event: Event) -> None:
        if event.kind == "probed":
            Path(good_job.path).unlink()

    ended = handle(good_job, remove)
    assert (ended.kind, ended.code) == ("failed", "not_found")


def test_trouble_of_our_own_is_a_crash_of_this_video(
    good_job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError("nothing to share")

    monkeypatch.setattr("fdvs.batch.telling.build_story", broken)
    ended = handle(good_job, lambda event: None)
    assert (ended.kind, ended.code) == ("failed", "crashed")
    assert "ZeroDivisionError: nothing to share" in ended.message
    assert "Traceback" in capsys.readouterr().err  # of the worker; its parent keeps it to itself
    assert row_of(good_job).code == "crashed"


def test_all_codes_are_reached_by_these_tests() -> None:
    assert {*WRONG.values(), "timeout", "crashed"} == ERROR_CODES

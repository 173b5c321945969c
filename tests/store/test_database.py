from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fdvs.errors import NotFoundError, StoreError
from fdvs.records import Video
from fdvs.store import database
from fdvs.store.library import Store


def test_a_missing_library_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no library in"):
        Store.open(tmp_path / "none", create=False)
    with pytest.raises(NotFoundError, match="no library in"):
        Store.open(tmp_path / "none", create=True, readonly=True)
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").write_text("hello, this is no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(tmp_path, create=True)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file"):
        Store.open(tmp_path / "file" / "library", create=True)


def test_folder_names_with_uri_characters_work(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%41"
    with Store.open(folder, create=True) as store:
        store.put_video(Video("id", "n", 1))
    assert (folder / "library.sqlite").is_file()
    with Store.open(folder, create=False, readonly=True) as store:
        assert store.video("id").name == "n"


def test_pragmas_of_a_library(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert values == ["wal", 1, 1, database.BUSY_TIMEOUT_MS]


def test_a_file_system_without_shared_memory_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)  # answers journal_mode = WAL with "memory"
    with pytest.raises(StoreError, match="local disk"):
        database._use_wal(db, tmp_path)


def test_an_open_library_is_closed_by_with_and_close_may_be_repeated(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.put_video(Video("id", "n", 1))
    store.close()
    assert not (tmp_path / "library.sqlite-wal").exists()


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:

        def video_and_mark_of_another() -> None:
            with store.writing():
                store.put_video(Video("id", "n", 1))
                store.mark_stage("no such video", "clips", "h")

        with pytest.raises(StoreError, match="FOREIGN KEY"):
            video_and_mark_of_another()
        assert store.videos() == []
        store.put_video(Video("id", "n", 1))
        assert len(store.videos()) == 1


def test_a_reader_sees_one_state_while_others_commit(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as writer, Store.open(tmp_path, create=False, readonly=True) as reader:
        writer.put_video(Video("one", "n", 1))
        with reader.reading():
            assert len(reader.videos()) == 1
            writer.put_video(Video("two", "n", 1))
            assert len(reader.videos()) == 1
        assert len(reader.videos()) == 2


def test_a_library_opened_for_reading_refuses_to_write(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    with Store.open(tmp_path, create=False, readonly=True) as store, pytest.raises(StoreError, match="reading only"):
        store.put_video(Video("id", "n", 1))


def test_a_lock_that_is_never_released_is_a_retryable_error(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as holder, Store.open(tmp_path, create=False) as other:
        other._db.execute("PRAGMA busy_timeout = 50")
        with holder.writing(), pytest.raises(StoreError, match="locked") as caught:
            other.put_video(Video("id", "n", 1))
        assert caught.value.retryable
        other.put_video(Video("id", "n", 1))


def test_a_full_disk_is_a_store_error_and_earlier_work_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.put_video(Video("id", "n", 1))
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")

        def too_many() -> None:
            for i in range(1000):
                store.put_video(Video(f"id{i}", "n" * 1000, 1))

        with pytest.raises(StoreError, match="full"):
            too_many()
        kept = len(store.videos())
    with Store.open(tmp_path, create=False) as store:
        assert len(store.videos()) == kept >= 1
        assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


# ---- several processes ------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, Video
from fdvs.store.clips import ClipRow
from fdvs.store.library import Store

folder, video_id, count, pause_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Store.open(folder, create=True) as store:
    store.put_video(Video(video_id, "v.mp4", 10**9))
    for i in range(count):
        span = Span(i, i + 1)
        clip = Clip(f"{video_id}-c{i}", video_id, span, i, ())
        caption = Caption(f"t{i}", clip.id, span, CaptionKind.VISUAL, "words", Outcome.OK, "", "fake", "c")
        store.put_clip("h", ClipRow(i, clip, captions=(caption,)), captions_hash="c")
        print(i, flush=True)
        if i == pause_at:
            sys.stdin.readline()
"""


def _writer(folder: Path, video_id: str, count: int, *, pause_at: int = -1) -> subprocess.Popen[str]:
    """A process that stores `count` clips and prints the number of each; after `pause_at` it waits for a line."""
    command = [sys.executable, "-c", WRITER, str(folder), video_id, str(count), str(pause_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _tell(writer: subprocess.Popen[str]) -> None:
    """Let a writer that pauses go on."""
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()


def test_writers_that_create_one_library_at_once_and_a_reader(tmp_path: Path) -> None:
    names, count, half = ["v1", "v2", "v3"], 150, 75
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(tmp_path, name, count, pause_at=half - 1)) for name in names]
        for writer in writers:
            assert writer.stdout is not None
            assert [writer.stdout.readline() for _ in range(half)] == [f"{i}\n" for i in range(half)]
        reader = stack.enter_context(Store.open(tmp_path, create=False, readonly=True))
        assert [len(reader.stored_clips(name, "h", "c")) for name in names] == [half] * 3  # all of them still write
        for writer in writers:
            _tell(writer)
        seen = dict.fromkeys(names, half)
        is_over = False
        while not is_over:
            is_over = all(writer.poll() is not None for writer in writers)
            for name in names:
                rows = reader.stored_clips(name, "h", "c")
                assert len(rows) >= seen[name]
                assert all(row.captions for row in rows), "a clip and its captions are one transaction"
                seen[name] = len(rows)
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        assert seen == dict.fromkeys(names, count)


@pytest.mark.parametrize("num_lines", [1, 40, 200])
def test_what_a_killed_writer_committed_survives(tmp_path: Path, num_lines: int) -> None:
    with _writer(tmp_path, "v", 10**6) as writer:
        assert writer.stdout is not None
        for _ in range(num_lines):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")[:-1]
    last = max([last, *map(int, rest)])
    assert (tmp_path / "library.sqlite-wal").stat().st_size > 0, "the writer must not have closed the library"
    with Store.open(tmp_path, create=False, readonly=True) as store:  # a reader must cope with the log, too
        assert len(store.stored_clips("v", "h", "c")) >= last + 1
    with Store.open(tmp_path, create=False) as store:
        rows = store.stored_clips("v", "h", "c")
        assert [row.ordinal for row in rows] == list(range(len(rows)))
        assert len(rows) in (last + 1, last + 2)  # the last commit may not have been printed
        assert all(row.captions and row.captions[0].text == "words" for row in rows)
        assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


# ---- folders that cannot be written -----------------------------------------------------------------------------


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that another user can enter and read but not write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


AS_NOBODY = """
import os, sys
from pathlib import Path
from fdvs.errors import StoreError
from fdvs.store.library import Store
if os.getuid() == 0:  # permissions do not bind root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with Store.open(Path(sys.argv[1]), create=False, readonly=sys.argv[2] == "readonly") as store:
        print([v.name for v in store.videos()])
except StoreError as error:
    print("StoreError:", error)
"""


def _as_nobody(folder: Path, how: str) -> str:
    command = [sys.executable, "-c", AS_NOBODY, str(folder), how]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _lock(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def test_a_read_only_library_can_be_read(closed_folder: Path) -> None:
    with Store.open(closed_folder, create=True) as store:
        store.put_video(Video("id", "n.mp4", 1))
    _lock(closed_folder)
    assert _as_nobody(closed_folder, "readonly") == "['n.mp4']\n"


def test_a_read_only_library_that_was_not_closed_says_so(closed_folder: Path) -> None:
    store = Store.open(closed_folder, create=True)
    store.put_video(Video("id", "n.mp4", 1))
    copy = closed_folder / "copy"
    copy.mkdir()
    for name in ("library.sqlite", "library.sqlite-wal"):
        shutil.copy(closed_folder / name, copy / name)
    store.close()
    _lock(copy)
    said = _as_nobody(copy, "readonly")
    copy.chmod(0o755)
    assert "was not closed" in said


def test_writing_to_a_read_only_library_is_a_clear_error(closed_folder: Path) -> None:
    Store.open(closed_folder, create=True).close()
    _lock(closed_folder)
    assert _as_nobody(closed_folder, "writing").startswith(f"StoreError: {closed_folder}")


def test_a_writer_waits_for_another_instead_of_failing(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        with store.writing():
            writer = _writer(tmp_path, "v", 1)
            with pytest.raises(subprocess.TimeoutExpired):
                writer.communicate(timeout=1.0)
        with writer:
            assert writer.communicate()[0] == "0\n"
        assert [video.id for video in store.videos()] == ["v"]

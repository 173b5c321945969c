"""Which files a build is about: folders are walked, files that are named are always taken."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Inside folders only these count as videos; a file named on its own is tried whatever it is called.
MEDIA_EXTENSIONS = frozenset(
    {
        ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".hevc", ".ivf", ".m1v",
        ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts",
        ".mxf", ".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
    }
)  # fmt: skip

# Extensions that MPEG transport streams share with TypeScript sources.
_AMBIGUOUS_EXTENSIONS = frozenset({".ts", ".mts"})

# Links can lead to one folder over very many paths (2 ** n with n folders); each folder is entered so often at most.
MAX_ENTRIES_PER_FOLDER = 16


@dataclass(frozen=True, slots=True)
class Found:
    """One path that a build is about.

    Attributes:
        path: absolute, links not followed. May hold undecodable bytes as lone surrogates (`os.fsdecode`).
        code: None for a file to be tried, else a status code: `not_found`, `unreadable` or `limit`.
        message: what is wrong, for the user; empty without a code.
    """

    path: Path
    code: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way down, as a chain to the folder it was reached from."""

    path: str
    identity: tuple[int, int]
    parent: _Folder | None

    def is_inside(self, identity: tuple[int, int]) -> bool:
        folder: _Folder | None = self
        while folder is not None:
            if folder.identity == identity:
                return True
            folder = folder.parent
        return False


def printable_name(path: Path | str) -> str:
    """`path` as text that can be shown, stored and encoded: control characters, marks that turn the direction of
    text, and undecodable bytes are written as escapes such as `\\n`, `\\u202e` and `\\udcff`."""
    return "".join(
        char if char.isprintable() or char == "\u200d" else char.encode("unicode_escape").decode() for char in str(path)
    )


def discover(inputs: Sequence[Path]) -> list[Found]:
    """Files and folders as named by the user → one row per distinct path, sorted by the bytes of the path.

    A folder (also one named `x.mp4`) is walked and gives the files with a known extension; what else lies there is
    ignored. A file that is named gives a row whatever its extension. A file reached twice over the same path is one
    row; over two paths (links) it is two. What cannot be tried is a row with a code: a path that does not exist, a
    link to nothing, something that is not a regular file, a folder that cannot be read.
    """
    rows: dict[bytes, Found] = {}
    for given in inputs:
        for found in _expand(_absolute(given)):
            rows.setdefault(os.fsencode(found.path), found)
    return [rows[key] for key in sorted(rows)]


def _absolute(path: Path) -> str:
    """Absolute without following a link at the end. With `..` the folders before it must be followed to be right."""
    if ".." in path.parts:
        parent = Path(os.path.realpath(path if path.name == ".." else path.parent))
        return str(parent if path.name == ".." else parent / path.name)
    return str(path.absolute())


def _expand(path: str) -> Iterator[Found]:
    try:
        status = os.stat(path)  # noqa: PTH116  (names with undecodable bytes stay as they are)
    except FileNotFoundError:
        yield Found(Path(path), "not_found", f"{printable_name(path)} {_missing(path)}")
    except (OSError, ValueError) as error:
        yield Found(Path(path), "unreadable", f"{printable_name(path)} cannot be read: {_reason(error)}")
    else:
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(_Folder(path, (status.st_dev, status.st_ino), None))
        else:
            yield _file(path, status)


def _missing(path: str) -> str:
    return "is a link to something that does not exist" if os.path.islink(path) else "does not exist"  # noqa: PTH114


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _file(path: str, status: os.stat_result) -> Found:
    """Anything but a regular file is refused here: opening a pipe would wait for ever."""
    if stat.S_ISREG(status.st_mode):
        return Found(Path(path))
    return Found(Path(path), "unreadable", f"{printable_name(path)} is not a regular file")


def _walk(top: _Folder) -> Iterator[Found]:
    """All media below `top`, with an explicit stack because folders may nest deeper than Python recurses."""
    entered: dict[tuple[int, int], int] = {}
    stack = [top]
    while stack:
        folder = stack.pop()
        count = entered[folder.identity] = entered.get(folder.identity, 0) + 1
        if count > MAX_ENTRIES_PER_FOLDER:
            message = f"{printable_name(folder.path)} was reached over more than {MAX_ENTRIES_PER_FOLDER} paths"
            yield Found(Path(folder.path), "limit", message)
            continue
        try:
            with os.scandir(folder.path) as entries:
                names = sorted((entry.name for entry in entries), key=os.fsencode)
        except OSError as error:
            message = f"folder {printable_name(folder.path)} cannot be read: {_reason(error)}"
            yield Found(Path(folder.path), "unreadable", message)
            continue
        for name in names:
            path = os.path.join(folder.path, name)  # noqa: PTH118
            try:
                status = os.stat(path)  # noqa: PTH116
            except OSError:
                if _is_media_name(name):  # a link to nothing, or a name too long to be reached
                    yield from _expand(path)
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode):
                if not folder.is_inside(identity):  # else: a link that leads back up
                    stack.append(_Folder(path, identity, folder))
            elif _is_media_name(name) and not _is_source_code(path, name, status):
                yield _file(path, status)


def _is_media_name(name: str) -> bool:
    """By extension. `._x.mp4` is what macOS leaves beside `x.mp4` on foreign disks: a few bytes that are no video."""
    return not name.startswith("._") and os.path.splitext(name)[1].lower() in MEDIA_EXTENSIONS  # noqa: PTH122


def _is_source_code(path: str, name: str, status: os.stat_result) -> bool:
    """True for a `.ts` or `.mts` that is plain text: TypeScript, not a transport stream. An empty or unreadable file
    is no source: it is listed, so that its failure is seen."""
    if os.path.splitext(name)[1].lower() not in _AMBIGUOUS_EXTENSIONS or not stat.S_ISREG(status.st_mode):  # noqa: PTH122
        return False
    try:
        with Path(path).open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    text = head.decode("utf-8", "ignore")  # the last character may be cut
    return (
        len(head) > 0
        and len(text.encode()) >= len(head) - 3
        and all(char.isprintable() or char in "\t\r\n\f" for char in text)
    )

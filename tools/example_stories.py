"""Write `docs/examples`: the stories of films under an open licence, as `fdvs build` tells them.

    python tools/example_stories.py FOLDER [--check]

FOLDER holds the films named in `FILMS` (others in it are left alone). The folder `docs/examples` is made anew: a
Markdown file for each film and a README that credits the films. `--check` writes nothing and fails when the files on
disk differ from what would be written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.api import Library
from fdvs.records import clock

TARGET = Path(__file__).resolve().parent.parent / "docs" / "examples"
COMMAND = "python tools/example_stories.py FOLDER"


@dataclass(frozen=True, slots=True)
class Film:
    """A film whose story may be passed on, and what its licence asks for."""

    name: str
    shows: str
    credit: str


_BLENDER = "© Blender Foundation, CC BY 3.0"
FILMS = (
    Film("bbb_full_448x252.mkv", "animated film, many shots, scrolling credits", f"Big Buck Bunny, {_BLENDER}"),
    Film("bbb_30s_360p.ts", "half a minute of the same film in MPEG-TS", f"Big Buck Bunny, {_BLENDER}"),
    Film("tears_of_steel_battle_vp8.webm", "live action with fast cuts", f"Tears of Steel, {_BLENDER}"),
    Film("tears_of_steel_clip_av1.webm", "live action, four shots, AV1", f"Tears of Steel, {_BLENDER}"),
    Film("tears_of_steel_clip_vp9.webm", "the same in VP9", f"Tears of Steel, {_BLENDER}"),
    Film("static_camera_one_by_one.mp4", "a fixed camera in a room", "© Intel, CC BY 4.0"),
    Film("talk_slides_laion_1080p.mp4", "a talk over slides", "video2dataset test file, MIT licence"),
    Film("nasa_two_streams_subs.mp4", "two video streams, subtitles inside", "NASA, public domain"),
    Film("nasa_hevc_10bit.mp4", "the same footage in 10 bits", "NASA, public domain"),
    Film("fades_between_shots.mp4", "three shots with black between them", "© Brandon Castellano, BSD 3-Clause"),
)


def written(folder: Path, films: Sequence[Film]) -> dict[str, str]:
    """The files of `docs/examples` by name, from a library made for the purpose."""
    with tempfile.TemporaryDirectory() as scratch, Library(Path(scratch) / "library") as library:
        report = library.build([folder / film.name for film in films])
        if report.failed:
            failed = [f"{row.video}: {row.message}" for row in report.rows if row.message]
            raise SystemExit("\n".join(failed))
        lengths = {video.name: clock(video.duration_ms) for video in library.videos()}
        files = {f"{Path(film.name).stem}.md": library.story(film.name).render("md") for film in films}
    return {"README.md": _index(films, lengths), **files}


def _index(films: Sequence[Film], lengths: dict[str, str]) -> str:
    rows = [
        f"| [{film.name}]({Path(film.name).stem}.md) | {lengths[film.name]} | {film.shows} | {film.credit} |"
        for film in films
    ]
    return "\n".join(
        [
            "# Stories as fdvs tells them",
            "",
            "Each was made by `fdvs build FILM` and `fdvs export FILM --format md`, without a vision model, a network",
            f"or a word changed by hand; all of them at once by `{COMMAND}`.",
            "Words in quotation marks were read on the screen or in the subtitles; everything else was measured.",
            "",
            "| film | length | shows | from |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the films lie")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the files would change")
    arguments = parser.parse_args()
    missing = [film.name for film in FILMS if not (arguments.folder / film.name).is_file()]
    if missing:
        raise SystemExit(f"{arguments.folder} lacks {', '.join(missing)}")
    files = written(arguments.folder, FILMS)
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.md")}
    changed = sorted(name for name in files.keys() | on_disk.keys() if files.get(name) != on_disk.get(name))
    if arguments.check:
        print("\n".join(f"differs: {name}" for name in changed) or "all as told")
        return 1 if changed else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in on_disk.keys() - files.keys():
        (TARGET / name).unlink()
    for name, text in files.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    print(f"{len(files)} files in docs/examples, {len(changed)} of them changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

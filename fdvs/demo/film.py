"""Renders the demo film and its narration, and says what is in them.

The film is made of drawings only, so it needs no sample data and no rights. It holds what real films hold: shots with
and without movement, a pan, a zoom, text, a fade through black and a place that returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

from fdvs.demo import scenes
from fdvs.records import Span

FPS = 15
FADE_S = 0.8

Fade = Literal["none", "in", "out"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot: what it is called, how long it lasts, what it shows and whether it fades."""

    name: str
    duration_ms: int
    make: Callable[[], scenes.Painter]
    fade: Fade = "none"


@dataclass(frozen=True, slots=True)
class DemoFilm:
    """Where the film lies and what is known of it."""

    path: Path
    subtitles: Path
    duration_ms: int
    num_frames: int
    shots: dict[str, Span]  # by name, in time order
    cues: tuple[tuple[Span, str], ...]
    query: str = "a ball rolling over the grass"
    question: str = "How tall is the lighthouse?"
    answer: str = "32 metres"  # what a right answer to the question contains


SHOTS = (
    Shot("title", 5000, lambda: scenes.title("A Day at the Lake", "drawn by a program")),
    Shot("ball", 7000, scenes.meadow_with_ball),
    Shot("square", 6000, scenes.studio_with_square),
    Shot("study", 8000, scenes.study),
    Shot("pan", 9000, scenes.landscape_pan, "out"),
    Shot("black", 800, scenes.black),
    Shot("zoom", 8200, scenes.moon_zoom, "in"),
    Shot("study again", 7000, scenes.study),
    Shot("slide", 9000, lambda: scenes.slide("Take along on the walk", ("Water", "Bread and cheese", "A map"))),
    Shot("balloons", 6000, scenes.balloons),
)

# (start and end in ms, what the narrator says)
CUES = (
    (400, 4400, "This small film shows a day at the lake. Every picture in it was drawn by a program."),
    (5300, 8400, "The red ball rolls from the left to the right across a green meadow."),
    (8700, 11700, "The ball needs seven seconds to cross the meadow."),
    (12300, 17400, "In a grey studio, a blue square rises from the floor to the ceiling."),
    (18400, 21800, "This is the study of Anna, the clockmaker. Her clock hangs above a green sofa."),
    (22100, 25700, "The lamp beside the sofa is yellow, and the window looks out on the sea."),
    (26400, 29900, "The camera pans from the mountains over the water to a white lighthouse."),
    (30200, 33800, "The lighthouse was built in 1887 and is 32 metres tall."),
    (37000, 40200, "Night falls over the lake, and the camera zooms in on the full moon."),
    (40500, 43700, "The moon is about 384,000 kilometres away from the earth."),
    (44400, 47400, "We are back in Anna's study, where nothing has changed."),
    (47700, 50700, "Only the pendulum of the clock keeps swinging."),
    (51400, 55200, "For the walk, take along water, bread and cheese, and a map."),
    (55600, 59600, "The walk around the lake takes two hours and ends at the lighthouse."),
    (60300, 65500, "Three balloons, one red, one yellow and one green, fly up into the sky."),
)


def render_demo(folder: Path) -> DemoFilm:
    """Write `a_day_at_the_lake.mp4` and its `.srt` into `folder` (made if missing); equal bytes on every call."""
    folder.mkdir(parents=True, exist_ok=True)
    film = describe_demo(folder)
    film.subtitles.write_text(_srt(film.cues), encoding="utf-8")
    unfinished = film.path.with_suffix(".part")
    _encode(unfinished)
    unfinished.replace(film.path)
    return film


def describe_demo(folder: Path) -> DemoFilm:
    """What `render_demo` writes, without writing it."""
    shots: dict[str, Span] = {}
    start = 0
    for shot in SHOTS:
        shots[shot.name] = Span(start, start + shot.duration_ms)
        start += shot.duration_ms
    return DemoFilm(
        path=folder / "a_day_at_the_lake.mp4",
        subtitles=folder / "a_day_at_the_lake.srt",
        duration_ms=start,
        num_frames=start * FPS // 1000,
        shots=shots,
        cues=tuple((Span(begin, end), text) for begin, end, text in CUES),
    )


def _pictures() -> Iterator[tuple[Image.Image, bool]]:
    """Every picture of the film in order, and whether a shot begins with it."""
    for shot in SHOTS:
        paint = shot.make()
        count = shot.duration_ms * FPS // 1000
        for index in range(count):
            picture = paint(index / (count - 1))
            brightness = _brightness(shot.fade, index, count)
            if brightness < 1:
                picture = picture.point([round(value * brightness) for value in range(256)] * 3)
            yield picture, index == 0


def _brightness(fade: Fade, index: int, count: int) -> float:
    steps = round(FADE_S * FPS)
    if fade == "in":
        return min(1.0, (index + 1) / steps)
    if fade == "out":
        return min(1.0, (count - index) / steps)
    return 1.0


def _encode(path: Path) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        # Long groups of pictures: the only key frames are the starts of shots, as with an encoder that sees cuts.
        options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0", "g": "1000"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = scenes.WIDTH, scenes.HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1  # equal bytes whatever the machine
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, (picture, starts_shot) in enumerate(_pictures()):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            frame.pts = number
            frame.time_base = Fraction(1, FPS)
            frame.pict_type = PictureType.I if starts_shot else PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _srt(cues: tuple[tuple[Span, str], ...]) -> str:
    def stamp(time_ms: int) -> str:
        seconds, ms = divmod(time_ms, 1000)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"

    return "\n".join(
        f"{number}\n{stamp(span.start_ms)} --> {stamp(span.end_ms)}\n{text}\n"
        for number, (span, text) in enumerate(cues, 1)
    )

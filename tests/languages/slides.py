"""Films of slides in any script, with lines of subtitles beside them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.fonts import font_for

SIZE = (640, 360)
RATE = 5
SLIDE_S = 6

Slide = tuple[str, ...]  # a title and the lines below it


def render_slides(path: Path, slides: Sequence[Slide], subtitles: Sequence[str] = ()) -> None:
    """A film that shows each slide for `SLIDE_S`, with a key picture where it comes, and if there are `subtitles` an
    `.srt` with one cue for each slide."""
    font = font_for("".join(line for slide in slides for line in slide))
    per_slide = RATE * SLIDE_S
    options = {"preset": "veryfast", "crf": "20", "g": str(per_slide), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, RATE)
        for number in range(per_slide * len(slides)):
            picture = _picture(slides[number // per_slide], font, number // per_slide)
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if subtitles:
        cues = [
            f"{i + 1}\n00:00:{SLIDE_S * i:02d},000 --> 00:00:{SLIDE_S * (i + 1) - 1:02d},500\n{line}\n"
            for i, line in enumerate(subtitles)
        ]
        path.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")


def _picture(slide: Slide, font: Path, number: int) -> Image.Image:
    """Dark on a light colour of its own."""
    image = Image.new("RGB", SIZE, ("white", "lightyellow", "lightcyan", "mistyrose")[number % 4])
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(slide):
        draw.text((40, 30 + 64 * i), line, (20, 20, 60), ImageFont.truetype(str(font), 24 if i else 36))
    return image

"""The drawn scenes of the demo film. Each returns a painter: progress through the shot (0..1) → picture.

What does not move is drawn once, at twice the size, and scaled down, which smooths every edge.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 360
SCALE = 2  # of the drawing over the picture

Colour = tuple[int, int, int]
Painter = Callable[[float], Image.Image]
Path = Callable[[float], tuple[float, float]]  # of a sprite's centre

INK: Colour = (38, 44, 58)
PAPER: Colour = (246, 242, 232)
RED: Colour = (214, 46, 38)
BLUE: Colour = (38, 92, 206)


class Canvas:
    """An RGBA drawing in picture coordinates, held at `SCALE` times the size until `done`."""

    def __init__(
        self, width: int = WIDTH, height: int = HEIGHT, top: Colour | None = None, bottom: Colour | None = None
    ):
        size = (width * SCALE, height * SCALE)
        if top is None:
            self.image = Image.new("RGBA", size, (0, 0, 0, 0))
        else:
            self.image = Image.new("RGBA", (1, 2), (*top, 255))
            self.image.putpixel((0, 1), (*(bottom or top), 255))
            # Stretching two pixels bilinearly leaves a quarter flat at both ends; crop to the even part.
            self.image = self.image.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))
        self._draw = ImageDraw.Draw(self.image)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, *, radius: float = 0) -> None:
        corners = [v * SCALE for v in (x0, y0, x1, y1)]
        self._draw.rounded_rectangle(corners, radius * SCALE, fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self._draw.ellipse([v * SCALE for v in (x - radius, y - radius, x + radius, y + radius)], fill)

    def polygon(self, points: Sequence[tuple[float, float]], fill: Colour) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill)

    def line(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, *, width: float) -> None:
        self._draw.line([v * SCALE for v in (x0, y0, x1, y1)], fill, round(width * SCALE))

    def text(self, x: float, y: float, text: str, size: int, fill: Colour, *, anchor: str = "mm") -> None:
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), text, fill, font, anchor)

    def done(self) -> Image.Image:
        width, height = self.image.size
        return self.image.resize((width // SCALE, height // SCALE), Image.Resampling.BOX)

    def picture(self) -> Image.Image:
        return self.done().convert("RGB")


def still(picture: Image.Image) -> Painter:
    return lambda progress: picture


def moving(background: Image.Image, sprites: Sequence[tuple[Image.Image, Path]]) -> Painter:
    """Sprites over a background; each path gives the sprite's centre at a progress."""

    def paint(progress: float) -> Image.Image:
        picture = background.copy()
        for sprite, path in sprites:
            x, y = path(progress)
            picture.paste(sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2)), sprite)
        return picture

    return paint


def between(start: float, end: float, progress: float) -> float:
    return start + (end - start) * progress


def title(heading: str, below: str) -> Painter:
    canvas = Canvas(top=(24, 40, 78), bottom=(52, 92, 140))
    canvas.text(WIDTH / 2, 150, heading, 52, PAPER)
    canvas.box(220, 192, 420, 195, (240, 186, 76))
    canvas.text(WIDTH / 2, 224, below, 22, (206, 218, 236))
    return still(canvas.picture())


def slide(heading: str, lines: Sequence[str]) -> Painter:
    canvas = Canvas(top=PAPER)
    canvas.box(0, 0, WIDTH, 78, (52, 92, 140))
    canvas.text(40, 40, heading, 34, PAPER, anchor="lm")
    for row, line in enumerate(lines):
        y = 128 + 62 * row
        canvas.disc(54, y, 7, RED)
        canvas.text(80, y, line, 30, INK, anchor="lm")
    return still(canvas.picture())


def meadow_with_ball() -> Painter:
    """A red ball rolls from the left edge to the right edge."""
    canvas = Canvas(top=(130, 190, 240), bottom=(222, 238, 250))
    canvas.disc(540, 70, 30, (255, 222, 110))
    for x, y in ((120, 70), (330, 100)):
        for dx, dy, radius in ((-26, 6, 16), (0, 0, 22), (26, 6, 17), (4, 10, 18)):
            canvas.disc(x + dx, y + dy, radius, (255, 255, 255))
    canvas.polygon([(0, 235), (160, 205), (340, 240), (520, 208), (640, 232), (640, 360), (0, 360)], (112, 176, 92))
    canvas.box(0, 290, WIDTH, HEIGHT, (86, 152, 72))
    radius = 36
    ball = Canvas(2 * radius + 2, 2 * radius + 2)
    ball.disc(radius + 1, radius + 1, radius, (150, 26, 24))
    ball.disc(radius - 1, radius - 1, radius - 3, RED)
    ball.disc(radius - 12, radius - 14, 7, (250, 190, 180))
    return moving(canvas.picture(), [(ball.done(), lambda p: (between(-radius, WIDTH + radius, p), 290 - radius + 8))])


def studio_with_square() -> Painter:
    """A blue square rises from the floor to the top."""
    canvas = Canvas(top=(196, 198, 202), bottom=(226, 227, 230))
    canvas.box(0, 300, WIDTH, HEIGHT, (150, 152, 158))
    for x in (80, 560):
        canvas.line(x, 300, x, 120, (96, 98, 104), width=5)
        canvas.polygon([(x - 26, 120), (x + 26, 120), (x + 14, 84), (x - 14, 84)], (70, 72, 78))
    square = Canvas(96, 96)
    square.box(0, 0, 95, 95, (24, 62, 150), radius=6)
    square.box(4, 4, 91, 91, BLUE, radius=4)
    return moving(canvas.picture(), [(square.done(), lambda p: (WIDTH / 2, between(270, 60, p)))])


def study() -> Painter:
    """A room with a green sofa, a yellow lamp, a window on the sea and a clock whose pendulum swings."""
    canvas = Canvas(top=(226, 206, 180), bottom=(214, 190, 160))
    canvas.box(0, 286, WIDTH, HEIGHT, (142, 98, 64))
    for x in range(-40, WIDTH, 90):
        canvas.line(x, HEIGHT, x + 50, 286, (122, 82, 52), width=2)
    canvas.box(0, 278, WIDTH, 287, (242, 234, 220))
    canvas.box(56, 60, 216, 206, (250, 246, 238))  # the window
    canvas.box(64, 68, 208, 134, (150, 204, 240))
    canvas.box(64, 134, 208, 198, (36, 110, 160))
    canvas.polygon([(150, 134), (176, 134), (163, 100)], (252, 252, 250))
    canvas.box(133, 68, 139, 198, (250, 246, 238))
    canvas.box(270, 214, 500, 300, (44, 112, 74), radius=16)  # the sofa
    canvas.box(256, 236, 290, 312, (36, 96, 62), radius=12)
    canvas.box(480, 236, 514, 312, (36, 96, 62), radius=12)
    canvas.box(284, 262, 486, 306, (60, 136, 92), radius=8)
    canvas.box(566, 190, 571, 312, (74, 60, 50))  # the lamp
    canvas.box(546, 308, 592, 315, (74, 60, 50), radius=3)
    canvas.polygon([(536, 192), (602, 192), (588, 142), (550, 142)], (250, 206, 66))
    canvas.box(352, 44, 418, 186, (96, 60, 36), radius=6)  # the clock
    canvas.box(361, 112, 409, 178, (58, 36, 24), radius=3)
    canvas.disc(385, 80, 26, PAPER)
    canvas.line(385, 80, 385, 62, INK, width=3)
    canvas.line(385, 80, 399, 86, INK, width=3)
    bob = Canvas(20, 20)
    bob.disc(10, 10, 8, (236, 190, 84))

    def swing(progress: float) -> tuple[float, float]:
        angle = 0.3 * math.sin(progress * 2 * math.pi * 4)
        return 385 + 48 * math.sin(angle), 112 + 48 * math.cos(angle)

    return moving(canvas.picture(), [(bob.done(), swing)])


def landscape_pan() -> Painter:
    """The camera moves from mountains on the left to a white lighthouse on the right."""
    width = 1760
    canvas = Canvas(width, HEIGHT, top=(250, 196, 140), bottom=(252, 232, 206))
    canvas.disc(900, 130, 44, (255, 240, 196))
    randomly = random.Random(7)  # noqa: S311  a picture, not a secret
    for base, height, colour in ((250, 170, (150, 142, 172)), (262, 110, (106, 112, 146))):
        x = -60.0
        while x < 1120:
            step, peak = randomly.uniform(110, 190), base - height * randomly.uniform(0.55, 1)
            canvas.polygon([(x - 70, base), (x + step / 2, peak), (x + step + 70, base)], colour)
            cap = 0.18 * (base - peak)
            slope = (step / 2 + 70) / (base - peak)
            left, right = (x + step / 2 - cap * slope, peak + cap), (x + step / 2 + cap * slope, peak + cap)
            canvas.polygon([(x + step / 2, peak), left, right], (236, 234, 240))
            x += step
    canvas.box(0, 248, width, HEIGHT, (86, 150, 178))  # the lake
    for _ in range(90):
        x, y, length = randomly.uniform(0, width), randomly.uniform(256, 330), randomly.uniform(14, 50)
        canvas.line(x, y, x + length, y, (128, 184, 204), width=1.5)
    canvas.polygon([(0, 300), (420, 270), (700, 316), (980, 360), (0, 360)], (62, 104, 70))
    for _ in range(46):
        x = randomly.uniform(0, 640)
        y, size = 304 + randomly.uniform(-12, 30), randomly.uniform(14, 26)
        canvas.polygon([(x - size / 2, y), (x + size / 2, y), (x, y - 2 * size)], (34, 74, 52))
    canvas.polygon([(1300, 360), (1380, 276), (1560, 258), (1760, 270), (1760, 360)], (104, 98, 92))
    canvas.polygon([(1486, 268), (1574, 268), (1554, 84), (1506, 84)], (250, 250, 246))  # the lighthouse
    canvas.box(1498, 66, 1562, 84, (70, 74, 84))
    canvas.box(1512, 40, 1548, 68, (255, 232, 140))
    canvas.polygon([(1504, 42), (1556, 42), (1530, 18)], RED)
    for y in (120, 160, 200):
        canvas.box(1522, y, 1538, y + 20, (64, 84, 110), radius=4)
    wide = canvas.picture()

    def paint(progress: float) -> Image.Image:
        ease = progress * progress * (3 - 2 * progress)
        left = round(between(0, width - WIDTH, ease))
        return wide.crop((left, 0, left + WIDTH, HEIGHT))

    return paint


def moon_zoom() -> Painter:
    """The camera zooms in on a full moon in a sky of stars."""
    factor = 2
    canvas = Canvas(WIDTH * factor, HEIGHT * factor, top=(8, 12, 34), bottom=(32, 42, 84))
    randomly = random.Random(11)  # noqa: S311  a picture, not a secret
    for _ in range(240):
        x, y = randomly.uniform(0, WIDTH * factor), randomly.uniform(0, 600)
        canvas.disc(x, y, randomly.choice((1.2, 1.6, 2.4)), (226, 230, 250))
    canvas.polygon([(0, 720), (0, 640), (300, 596), (620, 650), (940, 600), (1280, 640), (1280, 720)], (14, 16, 30))
    moon_x, moon_y = 800, 280
    for radius, shade in ((92, 48), (82, 70)):
        canvas.disc(moon_x, moon_y, radius, (shade, shade + 6, shade + 44))
    canvas.disc(moon_x, moon_y, 72, (244, 238, 214))
    for dx, dy, radius in ((-24, -18, 15), (20, 14, 19), (-8, 34, 10), (30, -30, 9)):
        canvas.disc(moon_x + dx, moon_y + dy, radius, (218, 210, 184))
    wide = canvas.picture()

    def paint(progress: float) -> Image.Image:
        share = 1 - 0.72 * progress
        width, height = wide.width * share, wide.height * share
        left = between(0, moon_x - 0.14 * wide.width, progress)
        top = between(0, moon_y - 0.14 * wide.height, progress)
        box = (left, top, left + width, top + height)
        return wide.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box)

    return paint


def balloons() -> Painter:
    """Three balloons, red, yellow and green, fly up one beside the other."""
    canvas = Canvas(top=(120, 186, 240), bottom=(226, 240, 252))
    canvas.text(WIDTH / 2, 318, "The End", 36, INK)

    def rise(x: float, lag: float) -> Path:
        return lambda progress: (x, between(360, 40, max(0.0, progress - lag)))

    sprites: list[tuple[Image.Image, Path]] = []
    for x, lag, colour in ((170, 0.0, RED), (320, 0.12, (246, 196, 52)), (470, 0.24, (52, 156, 84))):
        balloon = Canvas(76, 150)
        balloon.line(38, 86, 38, 148, (92, 92, 100), width=1.5)
        balloon.polygon([(30, 92), (46, 92), (38, 78)], colour)
        balloon.disc(38, 42, 36, colour)
        balloon.disc(26, 28, 7, (255, 255, 255))
        sprites.append((balloon.done(), rise(x, lag)))
    return moving(canvas.picture(), sprites)


def black() -> Painter:
    return still(Image.new("RGB", (WIDTH, HEIGHT)))

"""Which scripts the reader of on-screen text can read: lines drawn in each, read, and compared character by character.

    python -m benchmarks.screen_scripts FONT...

A font file is used for the scripts it has all letters of; a script without a font is left out, and the table says so.
On Debian: fonts-dejavu-core, fonts-noto-core, fonts-noto-cjk.
"""

from __future__ import annotations

import argparse
import difflib
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from fdvs.screen_text.reader import TextReader

SIZES = (24, 36, 56)  # pixels: a subtitle at 480p, a slide at 720p, a title
LINES = {
    "English": "The quick brown fox jumps over 13 lazy dogs",
    "German": "Höchstgeschwindigkeit für große Übungsfahrzeuge",
    "French": "Déjà vu à Noël : où est l'été, ça va être français",
    "Spanish": "¿Dónde está el niño? ¡Mañana será otro día!",
    "Polish": "Zażółć gęślą jaźń, źdźbło trawy",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Turkish": "Bugün ığdır çarşısında güneş doğuyor",
    "Vietnamese": "Hôm nay chúng ta học tiếng Việt",
    "Chinese, simplified": "人工智能正在改变我们的世界",
    "Chinese, traditional": "人工智慧正在改變我們的世界",
    "Japanese": "今日はとても天気がいいですね",
    "Korean": "오늘은 날씨가 아주 좋습니다",
    "Russian": "Съешь же ещё этих мягких булок",
    "Ukrainian": "Привіт, як у тебе справи сьогодні",
    "Greek": "Η γρήγορη αλεπού πηδάει πάνω από το σκυλί",
    "Arabic": "الذكاء الاصطناعي يغير العالم",
    "Hebrew": "שלום עולם מה שלומך היום",
    "Thai": "สวัสดีครับวันนี้อากาศดี",
    "Hindi": "आज मौसम बहुत अच्छा है",
    "Bengali": "আজ আবহাওয়া খুব ভালো",
    "Tamil": "இன்று வானிலை நன்றாக உள்ளது",
    "Georgian": "დღეს კარგი ამინდია",
    "Armenian": "Այսօր եղանակը լավ է",
}


def has_letters(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether the font draws each letter of the text as something else than its picture of a missing letter."""
    missing = bytes(font.getmask("\U0010fffd"))
    return all(bytes(font.getmask(letter)) != missing for letter in set(text) if letter.isalpha())


def draw(text: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """One line in black on a white picture of 720p, or wider if the line is, `[H, W, 3]`."""
    left, top, right, _ = font.getbbox(text)
    image = Image.new("RGB", (max(1280, int(right - left) + 80), 720), "white")
    ImageDraw.Draw(image).text((40 - left, 330 - top), text, font=font, fill="black")
    return np.asarray(image)


def similarity(wanted: str, read: str) -> float:
    """1 for equal texts, blanks and compatibility forms aside; less the more letters differ."""
    a, b = ("".join(unicodedata.normalize("NFKC", text).split()) for text in (wanted, read))
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fonts", nargs="+", type=Path)
    files = parser.parse_args().fonts
    if not features.check("raqm"):
        print("Pillow without Raqm: Arabic and Indic letters are not joined, their rows are worse than real text\n")
    reader = TextReader()
    print("| text | similarity | the reader's confidence | read as (36 px) |\n|---|---:|---:|---|")
    for name, line in LINES.items():
        file = next((one for one in files if has_letters(ImageFont.truetype(str(one), 36), line)), None)
        if file is None:
            print(f"| {name} | no font | | |")
            continue
        found = []
        for size in SIZES:
            lines = reader.read(draw(line, ImageFont.truetype(str(file), size)))
            scores = [one.score for one in lines]
            found.append((" ".join(one.text for one in lines), float(np.mean(scores)) if scores else 0.0))
        similarities = [similarity(line, text) for text, _ in found]
        confidence = np.mean([score for _, score in found])
        print(f"| {name} | {np.mean(similarities):.2f} | {confidence:.2f} | {found[1][0]} |")


if __name__ == "__main__":
    main()

"""A story for people: as a tree in the terminal, as Markdown. Text of the video is untrusted and made safe here."""

from __future__ import annotations

import re
import unicodedata

from fdvs.records import Level, StoryRecord, clock
from fdvs.stories.outline import Heading, honest_line, outline, summary_line
from fdvs.stories.words import safe_text

__all__ = ["clock", "honest_line", "render_markdown", "render_tree", "safe_text", "wrap"]

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&@])")
_LINK = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)")


def render_tree(record: StoryRecord, width: int = 100) -> str:
    """The story as text at most `width` columns wide, ending with a line break.

    First the honest line where no vision model was used, then name, length and counts; then numbered chapters (under
    parts, where there are any) with the start time of each paragraph.
    """
    width = max(width, 40)
    honest = honest_line(record)
    lines = [*wrap(honest, width), ""] if honest else []
    lines += wrap(safe_text(summary_line(record)), width, "  ")
    items = list(outline(record))
    number_width = max(len(str(item.number)) for item in items if isinstance(item, Heading))
    hours = record.video.duration_ms >= 3_600_000
    time_width = len(clock(record.video.duration_ms, hours=hours))
    for item in items:
        if isinstance(item, Heading):
            if item.level is Level.PART or not _after_part(lines):
                lines.append("")
            lines += _heading_lines(item, number_width, hours, width)
        else:
            lead = f"{'':{number_width}}  {clock(item.start_ms, hours=hours):>{time_width}}  "
            lines += wrap(lead + safe_text(item.text), width, " " * len(lead))
    return "\n".join(lines) + "\n"


def _after_part(lines: list[str]) -> bool:
    return bool(lines) and lines[-1].startswith("Part ")


def _heading_lines(item: Heading, number_width: int, hours: bool, width: int) -> list[str]:
    span = f"{clock(item.start_ms, hours=hours)}–{clock(item.end_ms, hours=hours)}"
    if item.level is Level.PART:
        return wrap(f"Part {item.number} · {span} · {safe_text(item.title)}", width, "  ")
    return wrap(f"{item.number:<{number_width}}  {span}  {safe_text(item.title)}", width, " " * (number_width + 2))


def render_markdown(record: StoryRecord) -> str:
    """The story as Markdown: a heading per part and chapter, a list item with its time per paragraph."""
    honest = honest_line(record)
    head = [f"# {markdown_text(record.video.name)}", ""]
    if honest:
        head += [f"*{markdown_text(honest)}*", ""]
    head += [markdown_text(summary_line(record)), ""]
    hours = record.video.duration_ms >= 3_600_000
    body: list[str] = []
    for item in outline(record):
        if isinstance(item, Heading):
            span = f"{clock(item.start_ms, hours=hours)}–{clock(item.end_ms, hours=hours)}"
            marks, name = ("##", f"Part {item.number}") if item.level is Level.PART else ("###", f"{item.number}")
            body += [""] if body and body[-1] else []
            body += [f"{marks} {name} · {span} · {markdown_text(item.title)}", ""]
        else:
            body.append(f"- **{clock(item.start_ms, hours=hours)}** {markdown_text(item.text)}")
    return "\n".join(head + body) + "\n"


def markdown_text(text: str) -> str:
    """Untrusted text as plain Markdown text on one line: no markup, HTML, entity or automatic link comes of it.

    What is special only at the start of a line needs no escape, for no line begins with such text.
    """
    escaped = _MARKDOWN_SPECIAL.sub(r"\\\1", safe_text(text))
    return _LINK.sub(lambda m: f"{m[1]}\\:" if m[1] else f"{m[3]}\\.", escaped)


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Break at blanks into lines of at most `width` columns (wide characters count two); continuation lines start with
    `indent`. A word longer than a line is broken. Leading blanks of the text stay."""
    lines: list[str] = []
    body = text.lstrip(" ")
    line = text[: len(text) - len(body)]
    fresh = True
    for word in body.split(" "):
        piece = word if fresh else f" {word}"
        if not fresh and _columns(line) + _columns(piece) > width:
            lines.append(line)
            line, piece = indent, word
        while _columns(line) + _columns(piece) > width:
            fits = _fitting(piece, width - _columns(line))
            lines.append(line + piece[:fits])
            line, piece = indent, piece[fits:]
        line += piece
        fresh = False
    return [*lines, line]


def _fitting(text: str, columns: int) -> int:
    """How many characters of `text` fit; at least one, so that wrapping always goes on."""
    used = 0
    for i, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return max(i, 1)
    return len(text)


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(_character_columns(character) for character in text)


def _character_columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

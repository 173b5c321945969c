"""Excerpts: text from the screen as quotations that are short enough to read and say what they leave out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fdvs.captioners.wording import number
from fdvs.stories.lines import quote, running_text
from fdvs.stories.words import content_words, one_line

QUOTE_CHARS = 240  # a quote is shortened to whole lines of about so much
BRIEF_CHARS = 100  # above the scenes, and where only some lines are named
_A_LITTLE_MORE = 1.25  # what is longer by no more than this is quoted whole: nobody wants "and one more line"


def quoted(lines: Sequence[str], limit: int = QUOTE_CHARS) -> str:
    """Lines from the screen as a quote: all of them where they are not much longer than `limit` characters, else the
    first that fit with the number of those left out. A first line that is too long itself ends at a word, with an
    ellipsis after the quote."""
    whole = running_text(lines)
    if len(whole) <= _A_LITTLE_MORE * limit:
        return quote(whole)
    count = 1
    while count < len(lines) and len(running_text(lines, count + 1)) <= limit:
        count += 1
    text = running_text(lines, count)
    if len(text) > limit:
        text = text[:limit].rsplit(" ", 1)[0].rstrip(" /")
        return f"{quote(text)} …"
    left = len(lines) - count
    return f"{quote(text)} and {number(left)} more {'line' if left == 1 else 'lines'}"


def some_of(lines: Sequence[str], noun: str) -> str:
    """`about 50 lines, among them "a / b"` for many lines, of which the first say no more than any other.

    Named are the most telling lines, as many as fit into `BRIEF_CHARS`, in reading order.
    """
    taken: list[int] = []
    for i in most_telling(lines):
        if taken and len(" / ".join(lines[k] for k in [*taken, i])) > BRIEF_CHARS:
            break
        taken.append(i)
    some = " / ".join(one_line(lines[i]) for i in sorted(taken))
    return f"about {round(len(lines), -1)} {noun}, among them {quote(some)}"


def most_telling(lines: Sequence[str]) -> Sequence[int]:
    """Indices of the lines that say what all are about: those whose words return most often on the page, each for
    words that no other says; all lines in their order where no word returns."""
    told_by = [{word for word in content_words(line) if not word.isdigit()} for line in lines]
    counts = Counter(word for found in told_by for word in found)
    left = {word for word in counts if counts[word] > 1}
    ranked: list[int] = []
    while left:
        gains = [sum(counts[word] for word in found & left) for found in told_by]
        ranked.append(gains.index(max(gains)))
        left -= told_by[ranked[-1]]
    return ranked or range(len(lines))

"""Aligned plain text for terminals: status tables, hits, answers. Untrusted text is made safe first."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.chat.base import Usage
from fdvs.cli.common import DEFAULT_LIBRARY
from fdvs.records import Answer, Hit, Level, State, clock
from fdvs.stories.words import safe_text

if TYPE_CHECKING:
    from fdvs.batch.costs import VideoCosts
    from fdvs.batch.report import StatusRow
    from fdvs.settings import RunSettings

NAME_WIDTH = 44
TEXT_WIDTH = 96


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def status_table(rows: Sequence[StatusRow]) -> list[str]:
    """One line per path, aligned; errors and warnings on lines of their own below it."""
    if not rows:
        return []
    width = min(NAME_WIDTH, max(len(safe_text(row.video)) for row in rows))
    lines = []
    for row in rows:
        total = "?" if row.clips_total is None else str(row.clips_total)
        clips = f"{row.clips_done}/{total} clips" if row.state is not State.FAILED else row.code
        lines.append(f"{_short(safe_text(row.video), width):<{width}}  {row.state:<7}  {clips}")
        if row.state is State.FAILED:
            lines.append(f"    {safe_text(row.message)}")
        lines.extend(f"    warning: {safe_text(warning)}" for warning in row.warnings)
    return lines


def cost_table(costs: Sequence[VideoCosts], run: RunSettings, seconds: float = 0.0) -> list[str]:
    """What models took: a line in all, with tokens per second where `seconds` is known and a price where prices are
    set; then a line per video and stage, and whether its captions waited for pictures or pictures for captions."""
    if not costs:
        return []
    from fdvs.batch.costs import price_of

    total = sum((one.usage for one in costs), Usage())
    captions = sum((one.stages["captions"].usage.tokens_out for one in costs if "captions" in one.stages), 0)
    rate = f"; {captions / seconds:.1f} caption tokens per second" if seconds and captions else ""
    price = price_of(total, run)
    cost = "" if price is None else f"; about {price:.4f} at {run.price_in:g} and {run.price_out:g} per million tokens"
    lines = [f"Models: {_usage_words(total)}{rate}{cost}"]
    width = min(NAME_WIDTH, max(len(safe_text(one.video)) for one in costs))
    for one in costs:
        name = f"    {_short(safe_text(one.video), width):<{width}}"
        for stage, cost_of_stage in one.stages.items():
            waited = f", {cost_of_stage.waited_s:.1f} s of it waiting" if cost_of_stage.waited_s else ""
            asked = f"  {_usage_words(cost_of_stage.usage)}" if cost_of_stage.usage.requests else ""
            lines.append(f"{name}  {stage:<8}  {cost_of_stage.seconds:.1f} s{waited}{asked}")
        lines.append(f"{name}  bound by: {'the model' if one.bound == 'model' else 'decoding'}")
    return lines


def _usage_words(usage: Usage) -> str:
    again = f" ({usage.retries} repeated)" if usage.retries else ""
    return (
        f"{usage.requests:,} request{'' if usage.requests == 1 else 's'}{again}, {usage.images:,} pictures, "
        f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out"
    )


def hit_lines(number: int, hit: Hit) -> list[str]:
    """A hit as a reader wants it: when, where, how near, then the text."""
    times = f"{clock(hit.span.start_ms)}–{clock(hit.span.end_ms)}"
    title = f"  {safe_text(hit.title)}" if hit.title and hit.level is not Level.CLIP else ""
    head = f"{number:>2}. {safe_text(hit.video)}  {times}  [{hit.level}, similarity {hit.similarity:.2f}]{title}"
    body = text_lines(_short(safe_text(hit.text), 400), "    ")
    also = [f"    also at {', '.join(clock(span.start_ms) for span in hit.also)}"] if hit.also else []
    return [head, *body, *also]


def text_lines(text: str, indent: str = "") -> list[str]:
    """Untrusted text, safe and wrapped."""
    return textwrap.wrap(safe_text(text), TEXT_WIDTH, initial_indent=indent, subsequent_indent=indent)


def answer_lines(answer: Answer, options: Sequence[str]) -> list[str]:
    """The answer, how likely each option is, and the moments it rests on (or those that came nearest)."""
    why = "see the note." if answer.note else "nothing in the stories supports one."
    lines = [f"No answer: {why}"] if answer.text is None else text_lines(answer.text)
    if answer.option_scores is not None and not answer.abstained:
        lines += [
            f"    {score:.2f}  {safe_text(text)}" for text, score in zip(options, answer.option_scores, strict=True)
        ]
    if answer.citations:
        lines.append("Nearest:" if answer.abstained else "From:")
    for number, hit in enumerate(answer.citations, 1):
        lines += hit_lines(number, hit)
    return lines


def how_to_read(name: str, library: Path) -> str:
    """The command that prints a story, ready to be pasted."""
    where = [] if library == DEFAULT_LIBRARY else ["-L", str(library)]
    return shlex.join(["fdvs", "story", safe_text(name), *where])

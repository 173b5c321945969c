"""The writer without a language model: it quotes, counts and tells times, and concludes nothing.

Quoted text is verbatim; all other words stand for something measured in the clips, captions or pages that a sentence
names as its sources. That no vision model was used is a matter of the whole story and stands in its rendered head
(`outline.honest_line`), not among the sentences: a sentence needs a source in the video.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fdvs.captioners.wording import short_colour_words
from fdvs.records import DuplicateGroup, Level, Outcome, Sentence, Span, clock
from fdvs.settings import StorySettings
from fdvs.stories.choose import choose, without_lists, word_sums
from fdvs.stories.clauses import mean_colours
from fdvs.stories.evidence import IMPORTED, MEASURED, ClipEvidence
from fdvs.stories.lines import SHOWN, Line, clip_sentences, in_short, seen_lines, sentences_of, told_once, utterances
from fdvs.stories.measured import MeasuredTeller, comings_and_goings, measured_caption, measured_phrases
from fdvs.stories.phases import phase_phrase
from fdvs.stories.returns import returns_of
from fdvs.stories.shown import PageTeller, still_standing
from fdvs.stories.standing import shown_pages, standing
from fdvs.stories.standouts import Standout, standouts
from fdvs.stories.titles import rare_phrases, title_of
from fdvs.stories.wholes import credits_of, without_scraps
from fdvs.stories.words import Rarity, content_words

WRITER = "builtin"
_OWN_REASONS = (MEASURED, IMPORTED)  # back ends whose reasons are a few plain words
_MS_PER_SCENE_LINE = 20_000


@dataclass(frozen=True, slots=True)
class Told:
    """What was written about one node: its title, its lines, which clips it stands over, and the summed word vectors
    of all that is told in these."""

    title: str
    lines: tuple[Line, ...]
    sentences: tuple[Sentence, ...]
    clips: range
    words: dict[str, float]


class BuiltinWriter:
    """Writes the nodes of one video, from the clips up, each level in time order.

    Args:
        clips: the video's clips in time order.
        settings: how many lines a scene, a chapter and the video get.
        duplicates: what repeats: of visual groups, that a clip comes back; of textual ones, what is not told again.
    """

    def __init__(
        self,
        clips: Sequence[ClipEvidence],
        settings: StorySettings,
        duplicates: Sequence[DuplicateGroup] = (),
    ) -> None:
        self._clips = clips
        self._is_paper = settings.levels == "paper"
        self._above_clips = Level.CHAPTER if self._is_paper else Level.SCENE
        self._counts = {
            Level.SCENE: settings.sentences_per_scene,
            Level.CHAPTER: settings.sentences_per_chapter,
            Level.PART: settings.sentences_per_chapter,
            Level.VIDEO: settings.sentences_per_video,
        }
        self.returns = returns_of(clips, duplicates)
        self.pages = shown_pages(clips)
        self._repeats = _repeats_by_caption(clips, duplicates)
        self._set_aside = {member for members in self._repeats.values() for member in members}
        self._seen = [seen_lines(evidence) for evidence in clips]
        self._said = _by_clip(clips, utterances(clips))
        self._told_pages = PageTeller(without_scraps(clips, self.pages), clips[-1].clip.span.end_ms)
        self._page_captions = {step.caption_id for shown in self.pages for step in shown.page.steps}
        self._measured = MeasuredTeller(clips, self.returns, self._clips_told_by_pages().__contains__)
        self._phrases = measured_phrases(clips)
        self._phrase_counts = Counter(phrase for phrases in self._phrases for phrase in phrases)
        self._rarity = Rarity(
            [word for line in seen + said for word in content_words(line.plain)]
            for seen, said in zip(self._seen, self._said, strict=True)
        )
        self._used_titles: dict[Level, set[str]] = defaultdict(set)
        self._last_told_ms: dict[str, int] = {}
        self._standouts: dict[int, Standout] = {}

    def look_ahead(self, groups: Sequence[range]) -> None:
        """Learn which clips the nodes right above them will have, before any of these is told."""
        self._standouts = standouts(self._clips, groups)

    def _clips_told_by_pages(self) -> set[int]:
        told = {clip for shown in self.pages if shown.is_subject for clip in range(shown.clip, shown.stop)}
        return told.union(credits_of(self._clips, self.pages) or ())

    def clip(self, index: int) -> Told:
        """A clip: all that is seen, then all that is said, nothing left out."""
        lines = tuple(told_once(self._seen[index] + self._said[index]))
        clips = range(index, index + 1)
        words = word_sums(self._rarity.vector(line.plain) for line in lines)
        title = self._title(Level.CLIP, lines, clips, words)
        return Told(title, lines, clip_sentences(self._clips[index]), clips, words)

    def over(self, level: Level, children: Sequence[Told]) -> Told:
        """A scene, chapter, part or video: the best lines of what it is made of, each told once.

        To be called in time order. The level above the clips is made of what is seen, shown, said and measured over
        them, the others of their children's lines.
        """
        clips = range(children[0].clips.start, children[-1].clips.stop)
        if level is self._above_clips:
            lines = self._of_clips(level, clips)
            pool = list(lines)
        else:
            pool = in_short([line for child in children for line in child.lines])
            lines = self._chosen(level, clips, pool)
        words = word_sums(child.words for child in children)
        # Which page came first is asked of all that the film shows, not of the few lines that were chosen.
        title = self._title(level, told_once(pool) if level is Level.VIDEO else lines, clips, words)
        told = self._with_phrases(level, clips, lines) if self._is_paper else lines
        return Told(title, lines, sentences_of(told), clips, words)

    def _of_clips(self, level: Level, clips: range) -> tuple[Line, ...]:
        """The lines of a node right above the clips; what an earlier one told is told again only if nothing else is."""
        worded = [
            line
            for i in clips
            for line in self._seen[i] + self._said[i]
            if line.sources[0] not in self._page_captions
            and not (line.is_measured and self._clips[i].facts is not None)
        ]
        span = Span.union([self._clips[i].clip.span for i in clips])
        shown = self._told_pages.lines(clips, span)
        everything = told_once(worded + shown + self._measured.lines(clips, self._standouts))
        new = [line for line in everything if line.key not in self._last_told_ms or line.weight]
        if not self._is_paper:
            new = [line for line in new if not self._is_repeat(line)]
        lines = self._chosen(level, clips, new) or self._nothing_new(level, clips, everything)
        for line in lines:
            self._last_told_ms[line.key] = line.start_ms
        return lines

    def _chosen(self, level: Level, clips: range, pool: Iterable[Line]) -> tuple[Line, ...]:
        once = told_once(line for line in pool if level is self._above_clips or not self._is_repeat(line))
        pool = without_lists(once, self._rarity)
        return tuple(choose(pool, self._count(level, clips), self._rarity, lambda line: self._times(line, clips)))

    def _is_repeat(self, line: Line) -> bool:
        """Whether textual redundancy has set aside everything this line was made from. What is composed over several
        captions (measured facts, pages) tells its repeats itself; the paper drops it too, from the story alone."""
        composed = line.is_measured or line.backend == SHOWN
        return (self._is_paper or not composed) and self._set_aside.issuperset(line.sources)

    def _times(self, line: Line, clips: range) -> int:
        """How many captions over these clips the line stands for, its own included."""
        if line.is_measured:
            return 1
        repeats = (self._repeats.get(source, {}) for source in line.sources)
        return 1 + sum(clip in clips for members in repeats for clip in members.values())

    def _nothing_new(self, level: Level, clips: range, everything: Sequence[Line]) -> tuple[Line, ...]:
        """A line for a node that tells nothing new: what stands there, or what was told before, with its time."""
        start_ms = self._clips[clips.start].clip.span.start_ms
        shown = standing(self.pages, clips)
        if shown is not None:
            captions = [measured_caption(self._clips[i]) for i in clips]
            sources = tuple(c.id for c in captions if c is not None) or tuple(self._clips[i].clip.id for i in clips)
            return (still_standing(shown, start_ms, sources),)
        lines = choose(everything, 1, self._rarity)
        earlier = [self._last_told_ms.get(line.key) for line in lines]
        return tuple(
            line if at is None else replace(line, text=f"As at {clock(at)}: {line.text}")
            for line, at in zip(lines, earlier, strict=True)
        )

    def _with_phrases(self, level: Level, clips: range, lines: Sequence[Line]) -> list[Line]:
        """The lines with a phrase for their quarter of the video before the first one of each clip."""
        starts = [self._clips[i].clip.span.start_ms for i in clips]
        told: list[Line] = []
        last = -1
        for line in lines:
            at = max(0, bisect_right(starts, line.start_ms) - 1)
            if at != last:
                phrase = phase_phrase(starts[at], self._clips[-1].clip.span.end_ms)
                told.append(replace(line, text=f"{phrase}: {line.text}"))
            else:
                told.append(line)
            last = at
        return told

    def _count(self, level: Level, clips: range) -> int:
        """How many sentences a node gets: as set; a long scene that has words more, up to three times as many."""
        if level is not Level.SCENE or not any(self._clips[i].is_worded for i in clips):
            return self._counts[level]
        duration_ms = self._clips[clips[-1]].clip.span.end_ms - self._clips[clips[0]].clip.span.start_ms
        return max(self._counts[level], min(duration_ms // _MS_PER_SCENE_LINE, 3 * self._counts[level]))

    def _title(self, level: Level, lines: Sequence[Line], clips: range, words: dict[str, float]) -> str:
        facts = rare_phrases([self._phrases[i] for i in clips], self._phrase_counts, len(self._clips))
        if level is not Level.CLIP:
            visits = comings_and_goings(len(self._measured.visits.intersection(clips)), self._end_ms(clips))
            marks = [self._standouts[i] for i in clips if i in self._standouts]
            names = [f"{one.title}, {self._colours(clips)}" for one in marks if 2 * one.num_clips >= len(clips)]
            facts = [*visits, *names[:1], *facts]
        # Parts are read in one list with their chapters.
        used = set() if level is Level.CLIP else self._used_titles[Level.CHAPTER if level is Level.PART else level]
        start_ms = self._clips[clips.start].clip.span.start_ms
        return title_of(
            lines,
            self._rarity,
            centre=words,
            fallback=facts,
            nothing=self._why_nothing(clips),
            used=used,
            start_ms=start_ms,
            first_shown=level is Level.VIDEO,
        )

    def _end_ms(self, clips: range) -> int:
        return self._clips[clips[-1]].clip.span.end_ms

    def _colours(self, clips: range) -> str:
        """The colours that lead over these clips."""
        known = [facts for i in clips if (facts := self._clips[i].facts) is not None]
        return short_colour_words(mean_colours(known))

    def _why_nothing(self, clips: range) -> str:
        """The first reason a caption gives for having no text; a title for what was never described. Why a model gave
        none is for those who run it: readers are told that it did not."""
        for i in clips:
            for caption in self._clips[i].captions:
                if caption.outcome in (Outcome.FAILED, Outcome.REFUSED):
                    return caption.reason if caption.backend in _OWN_REASONS else f"not described ({caption.outcome})"
        return "no caption"


def _repeats_by_caption(
    clips: Sequence[ClipEvidence], duplicates: Sequence[DuplicateGroup]
) -> dict[str, dict[str, int]]:
    """{caption: {caption it stands for: index of its clip}}, from the textual groups."""
    clip_of = {caption.id: i for i, evidence in enumerate(clips) for caption in evidence.captions}
    return {
        group.representative_id: {member.id: clip_of[member.id] for member in group.members if member.id in clip_of}
        for group in duplicates
        if group.kind == "textual"
    }


def _by_clip(clips: Sequence[ClipEvidence], lines: Iterable[Line]) -> list[list[Line]]:
    """Lines by the clip of their first source."""
    clip_of = {caption.id: i for i, evidence in enumerate(clips) for caption in evidence.captions}
    found: list[list[Line]] = [[] for _ in clips]
    for line in lines:
        found[clip_of[line.sources[0]]].append(line)
    return found

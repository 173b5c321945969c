"""The extractive writer: every sentence of a story is a caption's own, chosen, never composed.

What it adds are times only ("This continues until 0:21.", "This returns at 1:58."), computed from the spans. That no
vision model was used is a matter of the whole story and stands in its rendered head (`render.honest_line`), not among
the sentences: a sentence needs a source in the video.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fdvs.records import Level, Outcome, Sentence
from fdvs.settings import StorySettings
from fdvs.stories.choose import choose, word_sums
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.lines import Line, clip_sentences, seen_lines, told_once, utterances
from fdvs.stories.titles import rare_phrases, title_of
from fdvs.stories.words import Rarity, content_words

WRITER = "builtin"
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


class ExtractiveWriter:
    """Writes the nodes of one video, from the clips up, each level in time order.

    Args:
        clips: the video's clips in time order.
        settings: how many lines a scene, a chapter and the video get.
        phrase_of: a short phrase for a clip's measured facts; where it is None, titles come from text alone.
    """

    def __init__(
        self,
        clips: Sequence[ClipEvidence],
        settings: StorySettings,
        phrase_of: Callable[[ClipEvidence], str] | None = None,
    ) -> None:
        self._clips = clips
        self._counts = {
            Level.SCENE: settings.sentences_per_scene,
            Level.CHAPTER: settings.sentences_per_chapter,
            Level.PART: settings.sentences_per_chapter,
            Level.VIDEO: settings.sentences_per_video,
        }
        self._seen = [seen_lines(evidence) for evidence in clips]
        self._said = self._said_by_clip(clips)
        self._phrases = [phrase_of(evidence) if phrase_of else "" for evidence in clips]
        self._phrase_counts = Counter(phrase for phrase in self._phrases if phrase)
        self._rarity = Rarity(
            [word for line in seen + said for word in content_words(line.plain)]
            for seen, said in zip(self._seen, self._said, strict=True)
        )
        self._used_titles: dict[Level, set[str]] = defaultdict(set)

    @staticmethod
    def _said_by_clip(clips: Sequence[ClipEvidence]) -> list[list[Line]]:
        clip_of = {cue.id: i for i, evidence in enumerate(clips) for cue in evidence.captions}
        said: list[list[Line]] = [[] for _ in clips]
        for line in utterances(clips):
            said[clip_of[line.sources[0]]].append(line)
        return said

    def clip(self, index: int) -> Told:
        """A clip: all that is seen, then all that is said, nothing left out."""
        lines = tuple(told_once(self._seen[index] + self._said[index]))
        clips = range(index, index + 1)
        words = word_sums(self._rarity.vector(line.plain) for line in lines)
        title = self._title(Level.CLIP, lines, clips, words)
        return Told(title, lines, clip_sentences(self._clips[index]), clips, words)

    def over(self, level: Level, children: Sequence[Told]) -> Told:
        """A scene, chapter, part or video: the best lines of its children, each told once."""
        candidates = told_once(line for child in children for line in child.lines)
        clips = range(children[0].clips.start, children[-1].clips.stop)
        lines = tuple(choose(candidates, self._count(level, clips), self._rarity))
        sentences = tuple(sentence for line in lines for sentence in line.sentences())
        words = word_sums(child.words for child in children)
        return Told(self._title(level, lines, clips, words), lines, sentences, clips, words)

    def _count(self, level: Level, clips: range) -> int:
        """How many sentences a node gets: as set; a long scene that has words more, up to three times as many."""
        if level is not Level.SCENE or not any(self._clips[i].is_worded for i in clips):
            return self._counts[level]
        duration_ms = self._clips[clips[-1]].clip.span.end_ms - self._clips[clips[0]].clip.span.start_ms
        return max(self._counts[level], min(duration_ms // _MS_PER_SCENE_LINE, 3 * self._counts[level]))

    def _title(self, level: Level, lines: Sequence[Line], clips: range, words: dict[str, float]) -> str:
        facts = rare_phrases([self._phrases[i] for i in clips], self._phrase_counts, len(self._clips))
        used = set() if level is Level.CLIP else self._used_titles[level]
        start_ms = self._clips[clips.start].clip.span.start_ms
        return title_of(
            lines,
            self._rarity,
            centre=words,
            fallback=facts,
            nothing=self._why_nothing(clips),
            used=used,
            start_ms=start_ms,
        )

    def _why_nothing(self, clips: range) -> str:
        """The first reason a caption gives for having no text; a title for what was never described."""
        for i in clips:
            for caption in self._clips[i].captions:
                if caption.outcome in (Outcome.FAILED, Outcome.REFUSED):
                    return caption.reason
        return "no caption"

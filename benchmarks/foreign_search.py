"""Search in a language that the bundled sentence encoder does not know: how far may meaning have a say?

    python -m benchmarks.foreign_search SUBTITLES LANGUAGE

Words that occur in 2 to 8 clips of the subtitles are searched for, alone and in questions. Printed for each weight of
meaning and words: the share of searches whose first hit has the word, and the mean share of hits that have it, among as
many hits as there are such clips.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import defaultdict
from pathlib import Path

from fdvs.api import Library
from fdvs.languages.families import stemmer
from fdvs.languages.function_words import telling
from fdvs.languages.terms import terms
from fdvs.retrieval import pool

WEIGHTS = ((1.0, 0.25), (0.5, 0.5), (0.25, 1.0), (0.1, 1.0), (0.0, 1.0))
FRAMES = {
    "de": ("{}", "was sagt sie über {}", "warum ist {} so wichtig für die kinder"),
    "en": ("{}", "what does she say about {}", "why is {} so important for the children"),
}
NUM_WORDS = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subtitles", type=Path)
    parser.add_argument("language", choices=sorted(FRAMES))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Library(folder) as library:
        report = library.import_captions([given.subtitles])
        measure(library, report.rows[0].video, given.language)


def measure(library: Library, video: str, language: str) -> None:
    stem = stemmer(language)
    clips: dict[str, set[str]] = defaultdict(set)
    surface: dict[str, str] = {}
    for node in library.story(video).nodes:
        if not node.children:
            for word in telling(terms(node.text), language):
                clips[stem(word)].add(node.id)
                surface[stem(word)] = word
    words = sorted(one for one, found in clips.items() if 2 <= len(found) <= 8 and len(one) > 4)
    words = random.Random(1).sample(words, min(NUM_WORDS, len(words)))
    print(f"{len(words)} words\n\n| query | meaning, words | first hit | hits |\n|---|---|---:|---:|")
    for frame in FRAMES[language]:
        for weights in WEIGHTS:
            pool.OUTSIDE_MEANING_WEIGHT, pool.OUTSIDE_LEXICAL_WEIGHT = weights
            first = share = 0.0
            for word in words:
                hits = library.search(frame.format(surface[word]), k=len(clips[word]), level="clip")
                has = [word in {stem(term) for term in terms(hit.text)} for hit in hits]
                first += has[0]
                share += sum(has) / len(has)
            print(f"| {frame} | {weights[0]}, {weights[1]} | {first / len(words):.2f} | {share / len(words):.2f} |")


if __name__ == "__main__":
    main()

"""What textual redundancy costs: the modes on published captions, questions answered from what each of them keeps.

For every mode: which share of the sentences goes, and by how much the accuracy of the built-in reader on multiple
choice changes against all sentences, with the standard error of the paired difference. The captions of another
video are the control: they show how much of an accuracy comes from the options alone.

Run from the repository root:

    python -m benchmarks.redundancy_modes --texts ../shared/data/text --save benchmarks/results/redundancy_modes
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders.minilm import MiniLM
from fdvs.languages.families import stemmer
from fdvs.languages.function_words import telling
from fdvs.languages.terms import terms
from fdvs.redundancy.textual import TextRule, reduce_units
from fdvs.retrieval.background import Units, Words, background_of
from fdvs.retrieval.choice import Options, option_scores
from fdvs.stories.words import split_sentences

RULES = {
    "none": TextRule("none"),
    "exact": TextRule("exact"),
    "guard 0.8": TextRule("guard"),
    "guard 0.7": TextRule("guard", 0.7),
    "greedy 0.85": TextRule("greedy"),
    "greedy 0.70": TextRule("greedy", 0.7),
    "adaptive_causal, L = 35": TextRule("adaptive_causal", memory=35),
    "paper_literal, L = 35": TextRule("paper_literal", memory=35),
    "fixed_threshold 0.9, L = 35": TextRule("fixed_threshold", memory=35),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of several options, one of which is right."""

    question: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Told:
    """A video by its sentences, in time order, and what is asked about it."""

    name: str
    sentences: tuple[str, ...]
    asked: tuple[Asked, ...]


def _first_person(text: str) -> str:
    """EgoSchema's marks in words: `#C C opens the door` is about the person who wears the camera."""
    plain = re.sub(r"^#\w+\s*", "", text.strip())
    plain = re.sub(r"#unsure", "something", plain, flags=re.I)
    return re.sub(r"\bc\b(?=\s|'s|[.,]|$)", "the person", plain, flags=re.I).strip()


def egoschema(row: dict[str, Any]) -> Told:
    sentences = (s for caption in row["captions_1s"] for s in split_sentences(_first_person(caption)))
    options = tuple(map(_first_person, row["options"]))
    return Told(row["video"], tuple(sentences), (Asked(_first_person(row["question"]), options, int(row["answer"])),))


def nextqa(row: dict[str, Any]) -> Told:
    captions = row.get("captions_1fps") or row["captions_1s"]
    sentences = (s for caption in captions for s in split_sentences(caption))
    asked = (Asked(one["question"], tuple(one["options"]), int(one["answer"])) for one in row["qa"])
    return Told(row["video"], tuple(sentences), tuple(asked))


SETS: dict[str, tuple[str, Callable[[dict[str, Any]], Told]]] = {
    "EgoSchema": ("egoschema500_captions_qa.jsonl.gz", egoschema),
    "NExT-QA": ("nextqa_val_captions_qa_grounding.jsonl.gz", nextqa),
    "IntentQA": ("intentqa_test_captions_qa.jsonl.gz", nextqa),
}


class Texts:
    """Vectors and telling stems of texts, each computed once. As in a library, a stem is named by the first word that
    has it."""

    def __init__(self) -> None:
        self._encoder = MiniLM()
        self._names: dict[str, str] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._stems: dict[str, list[str]] = {}

    def learn(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        for start in range(0, len(new), 4096):
            some = new[start : start + 4096]
            self._vectors.update(zip(some, self._encoder.encode(some), strict=True))
            self._stems.update((text, self._telling(text)) for text in some)

    def _telling(self, text: str) -> list[str]:
        stem = stemmer("en")
        return list(dict.fromkeys(self._names.setdefault(stem(word), word) for word in telling(terms(text), "en")))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.learn(texts)
        return np.stack([self._vectors[text] for text in texts])

    def stems(self, texts: Sequence[str]) -> list[list[str]]:
        self.learn(texts)
        return [self._stems[text] for text in texts]


class Collection:
    """The videos of one set; each is read before the background of the others."""

    def __init__(self, videos: Sequence[Told], texts: Texts) -> None:
        self.videos, self._texts = videos, texts
        self._whole = [
            Units(texts.vectors(v.sentences), texts.stems(v.sentences), [1] * len(v.sentences)) for v in videos
        ]
        self._counts = [units.counts() for units in self._whole]
        self._having = Counter(stem for counts in self._counts for stem in counts)
        self._count = sum(self._counts, Counter[str]())
        self._total = self._count.total()

    def reduced(self, index: int, rule: TextRule) -> Units:
        """The units that a rule keeps of one video."""
        whole = self._whole[index]
        stems = [words or [text] for words, text in zip(whole.stems, self.videos[index].sentences, strict=True)]
        reduction = reduce_units(stems, whole.vectors, rule)
        kept = list(reduction.kept)
        return Units(whole.vectors[kept], [whole.stems[i] for i in kept], reduction.multiplicity)

    def answers(self, units: Sequence[Units]) -> list[bool]:
        """For every question of every video, whether the reader is right when it reads `units` of that video."""
        return [right for index, read in enumerate(units) for right in self._right(index, read)]

    def _right(self, index: int, units: Units) -> Iterator[bool]:
        own = self._counts[index]
        words = Words(
            len(self.videos) - 1,
            self._total - own.total(),
            lambda stem: self._having[stem] - (stem in own),
            lambda stem: self._count[stem] - own[stem],
        )
        background = background_of(self._whole[:index] + self._whole[index + 1 :], MiniLM.dimension, words)
        for asked in self.videos[index].asked:
            options = Options(
                self._texts.vectors(asked.options),
                self._texts.vectors([f"{asked.question} {option}" for option in asked.options]),
                self._texts.stems(asked.options),
            )
            scores = option_scores(options, units, background, self._texts.vectors)
            yield int(np.argmax(scores)) == asked.answer


@dataclass(frozen=True, slots=True)
class Row:
    """One mode on one set: shares and accuracies in percent, the change against mode `none` with its standard error."""

    dataset: str
    questions: int
    mode: str
    units: int
    kept: int
    accuracy: float
    change: float
    error: float


def measure(name: str, collection: Collection) -> tuple[list[Row], float]:
    """The rows of one set, and its accuracy with the captions of another video."""
    indices = range(len(collection.videos))
    rows: list[Row] = []
    base = np.empty(0)
    num_units = sum(len(video.sentences) for video in collection.videos)
    for mode, rule in RULES.items():
        units = [collection.reduced(i, rule) for i in indices]
        right = np.asarray(collection.answers(units), float)
        base = base if rows else right
        change = right - base
        rows.append(
            Row(
                name,
                right.size,
                mode,
                num_units,
                sum(len(one.vectors) for one in units),
                100 * float(right.mean()),
                100 * float(change.mean()),
                100 * float(change.std(ddof=1)) / right.size**0.5,
            )
        )
        print(f"{name}  {mode}  {rows[-1]}", file=sys.stderr, flush=True)
    whole = [collection.reduced(i, RULES["none"]) for i in indices]
    wrong = collection.answers(whole[len(whole) // 2 :] + whole[: len(whole) // 2])
    return rows, 100 * float(np.mean(wrong))


def report(rows: Sequence[Row], controls: dict[str, float], seconds: float) -> str:
    """The table as Markdown."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = [
        "# Textual redundancy at what accuracy",
        "",
        f"Command: `{' '.join(['python -m benchmarks.redundancy_modes', *sys.argv[1:]])}`, commit "
        f"{commit.stdout.strip() or 'unknown'}, {seconds:.0f} CPU-seconds.",
        "",
        "Units are sentences of published captions of one caption per second. The built-in reader (no language model)",
        "chooses one of five options from the units that a mode keeps; kept units count as often as they stand for",
        "others. Change: percentage points against all units, ± one standard error of the paired difference.",
        "",
        "| set | questions | accuracy, all units | accuracy, captions of another video |",
        "|---|---:|---:|---:|",
    ]
    first = [row for row in rows if row.mode == "none"]
    for row in first:
        error = (row.accuracy * (100 - row.accuracy) / row.questions) ** 0.5
        control = controls[row.dataset]
        lines.append(f"| {row.dataset} | {row.questions} | {row.accuracy:.1f} ± {error:.1f} | {control:.1f} |")
    names = [row.dataset for row in first]
    lines += [
        "",
        "| mode | " + " | ".join(f"{name}: removed → change" for name in names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for mode in RULES:
        if mode != "none":
            found = [next(row for row in rows if (row.dataset, row.mode) == (name, mode)) for name in names]
            lines.append(f"| {mode} | " + " | ".join(_cell(row) for row in found) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    share = 100 - 100 * row.kept / row.units
    return f"{share:.0f} % → {row.change:+.2f} ± {row.error:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True, help="folder of the published captions and questions")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--save", type=Path, help="writes SAVE.md and SAVE.csv")
    arguments = parser.parse_args()
    start = time.process_time()
    texts, rows, controls = Texts(), list[Row](), dict[str, float]()
    for name in arguments.sets:
        file, read = SETS[name]
        with gzip.open(arguments.texts / file, "rt", encoding="utf-8") as lines:
            collection = Collection([read(json.loads(line)) for line in lines], texts)
        found, controls[name] = measure(name, collection)
        rows += found
    table = report(rows, controls, time.process_time() - start)
    print(table)
    if arguments.save is not None:
        arguments.save.with_suffix(".md").write_text(table, encoding="utf-8")
        with arguments.save.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Row.__slots__)
            writer.writerows([getattr(row, field) for field in Row.__slots__] for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

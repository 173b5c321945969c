"""Objects: names in chunks, boxes merged and told; the detector on a tiny model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.captioners.grounding import (
    MAX_PER_FRAME,
    TEXT_THRESHOLD,
    Detection,
    ObjectFinder,
    asked,
    chunked,
    frame_line,
    merged,
    told,
)
from fdvs.captioners.perception import perceived
from fdvs.captioners.regions import Box, overlap, region, size
from fdvs.captioners.vocabulary import bare_names
from fdvs.encoders import minilm
from fdvs.errors import BackendUnavailableError, InputError, UsageError
from fdvs.records import CaptionKind, Outcome
from tests.captioners import tiny_vision
from tests.captioners.tiny_vision import save_clip, save_grounding, shown
from tests.encoders.models import needs, pictures

NAMES = ("cup", "dog", "wine glass", "traffic light", "tree", "house", "pair of scissors")


def detection(name: str, score: float, x: float = 0.5, y: float = 0.5, side: float = 0.2) -> Detection:
    return Detection(name, score, Box(x, y, side, side))


def place_of(one: Detection) -> tuple[float, ...]:
    return (round(one.box.x, 4), round(one.box.y, 4), one.box.width, one.box.height, one.score)


# --- chunks


def words_in(text: str) -> int:
    """A tokenizer for which every word and every full stop is a token, with one at each end."""
    return len(re.findall(r"\w+|\.", text)) + 2


@settings(max_examples=60)
@given(st.lists(st.text("abc ", min_size=1, max_size=9).filter(str.strip), max_size=30), st.integers(12, 40))
def test_chunks_never_cut_a_name_lose_one_or_exceed_the_limit(names: list[str], limit: int) -> None:
    parts = list(chunked(names, words_in, limit))
    assert [name for part in parts for name in part] == names
    assert all(words_in(asked(part)) <= limit for part in parts)


def test_chunks_are_as_long_as_they_may_be() -> None:
    parts = list(chunked(NAMES, words_in, 8))
    assert parts == [["cup", "dog"], ["wine glass", "traffic light"], ["tree", "house"], ["pair of scissors"]]


@pytest.mark.parametrize("name", ["a b c d e f g h", "cup. dog", "", " "])
def test_name_that_would_be_cut_or_split_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no detector can be asked"):
        list(chunked(["cup", name], words_in, 9))


def test_shipped_names_fit_a_few_chunks_of_the_published_detector() -> None:
    """It reads text with the WordPiece vocabulary that the shipped sentence encoder has too."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(minilm.__file__).with_name("tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    parts = list(chunked(bare_names(), lambda text: len(tokenizer.encode(text).ids), 256))
    assert [name for part in parts for name in part] == list(bare_names())
    assert max(len(tokenizer.encode(asked(part)).ids) for part in parts) <= 256
    assert len(parts) <= 6


# --- what is told


def test_boxes_of_one_object_are_merged_under_the_surest_name() -> None:
    cup, mug, dog = detection("cup", 0.6), detection("mug", 0.7, 0.51), detection("dog", 0.5, 0.1)
    assert merged([cup, mug, dog]) == [mug, dog]


def test_merging_does_not_depend_on_the_order_of_chunks() -> None:
    found = [detection(name, 0.5, x) for name in ("cup", "dog") for x in (0.2, 0.21, 0.8)]
    assert merged(found) == merged(found[::-1])


def test_things_of_one_kind_size_and_place_are_counted() -> None:
    found = [detection("cup", 0.9, 0.1), detection("cup", 0.8, 0.2), detection("table", 0.7, 0.5, 0.9, 0.7)]
    assert frame_line(found) == "small cup (left) ×2, medium table (bottom)"


def test_what_is_not_told_of_a_crowded_frame_is_counted() -> None:
    found = [detection(f"thing {index}", 0.9) for index in range(MAX_PER_FRAME + 3)]
    assert frame_line(found).endswith(f"thing {MAX_PER_FRAME - 1} (center), and 3 more")


def test_frames_are_told_in_time_order_and_a_frame_like_the_last_says_so() -> None:
    cup = [detection("cup", 0.9)]
    assert told([(0, cup), (1500, cup), (3_661_000, [])]) == (
        "At 0:00: small cup (center). At 0:01: the same. At 1:01:01: none of the objects looked for."
    )


# --- the detector


def tiny(folder: Path, **options: Any) -> Path:
    return save_grounding(folder, [word for name in NAMES for word in name.split()], **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("detector") / "tiny", max_text_len=12)


@pytest.fixture(scope="module")
def finder(folder: Path) -> ObjectFinder:
    return ObjectFinder(str(folder), NAMES)


@pytest.mark.model
@needs("torch", "transformers", "safetensors")
class TestDetector:
    def test_chunks_fit_what_the_model_reads(self, finder: ObjectFinder, folder: Path) -> None:
        tokenizer = tiny_vision.transformers().AutoTokenizer.from_pretrained(folder)
        assert len(finder.chunks) > 1
        assert [name for chunk in finder.chunks for name in chunk] == list(NAMES)
        assert max(len(tokenizer(asked(chunk))["input_ids"]) for chunk in finder.chunks) <= 12

    def test_everyday_names_are_asked_for_where_none_are_given(self, folder: Path) -> None:
        names = [
            name for chunk in ObjectFinder(str(tiny(folder.parent / "wide", max_text_len=60))).chunks for name in chunk
        ]
        assert names == list(bare_names())

    def test_boxes_are_those_of_the_library_with_names_of_ours(self, tmp_path: Path) -> None:
        """One chunk, so that nothing has to be merged: the library's own post-processing gives the same boxes."""
        library = tiny_vision.transformers()
        folder = tiny(tmp_path / "one", max_text_len=40)
        finder = ObjectFinder(str(folder), NAMES)
        assert len(finder.chunks) == 1
        (picture,) = pictures(1, 48, 64)
        network = library.GroundingDinoForObjectDetection.from_pretrained(folder).eval()
        processor = library.GroundingDinoProcessor(
            library.GroundingDinoImageProcessorPil.from_pretrained(folder),
            library.AutoTokenizer.from_pretrained(folder),
        )
        given = processor(images=[picture], text=[list(NAMES)], input_data_format="channels_last", return_tensors="pt")
        output = network(**given)
        (wanted,) = processor.post_process_grounded_object_detection(output, given["input_ids"], 0.4, TEXT_THRESHOLD)
        corners = wanted["boxes"].detach().numpy()
        theirs = [
            Detection("", float(score), Box((a + c) / 2, (b + d) / 2, c - a, d - b))
            for score, (a, b, c, d) in zip(wanted["scores"].tolist(), corners.tolist(), strict=True)
        ]
        (ours,) = finder.find([picture])
        assert ours
        assert sorted(place_of(one) for one in ours) == pytest.approx(
            np.array(sorted(place_of(one) for one in merged(theirs))), abs=2e-3
        )
        assert {one.name for one in ours} <= set(NAMES)

    def test_frames_together_as_alone(self, finder: ObjectFinder) -> None:
        frames = [*pictures(5, 48, 64), *pictures(1, 64, 48)]
        together = finder.find(frames)
        assert any(together)
        for found, frame in zip(together, frames, strict=True):
            (alone,) = finder.find([frame])
            assert [one.name for one in found] == [one.name for one in alone]
            np.testing.assert_allclose([one.box.x for one in found], [one.box.x for one in alone], atol=1e-4)

    def test_no_two_boxes_that_are_left_cover_each_other(self, finder: ObjectFinder) -> None:
        for found in finder.find(pictures(3, 48, 64)):
            assert all(0.4 < one.score <= 1 for one in found)
            assert not [1 for i, one in enumerate(found) for other in found[:i] if overlap(one.box, other.box) > 0.7]

    def test_caption_tells_the_kept_frames_only(self, finder: ObjectFinder) -> None:
        clip = shown(pictures(4, 48, 64), kept=[0, 2])
        caption = perceived(clip, finder, "hash")
        assert (caption.kind, caption.outcome, caption.backend) == (CaptionKind.OBJECTS, Outcome.OK, "grounding_dino")
        assert re.findall(r"At (\d:\d\d): ", caption.text) == ["0:00", "0:02"]
        first = finder.find(pictures(1, 48, 64))[0]
        assert first
        regions = {f"({region(one.box)})" for one in first} | {size(one.box) for one in first}
        assert all(word in caption.text for word in regions)

    def test_other_families_and_missing_models_are_clear_errors(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(UsageError, match="'clip'; wanted one of grounding-dino"):
            ObjectFinder(str(save_clip(tmp_path / "clip")))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BackendUnavailableError, match="hf download IDEA-Research/grounding-dino-tiny"):
            ObjectFinder()

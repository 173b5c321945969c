"""Builds with models in process: loaded once, in a process that serves all workers and ends with the build."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from fdvs import Library
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import BackendUnavailableError
from fdvs.kernels.choice import choice_of
from fdvs.prompts.captions import caption_request
from fdvs.records import CaptionKind
from fdvs.store.kept_pictures import KeptPictures
from tests.batch.commands import children, is_alive, render_film, wait_until
from tests.cli.commands import done, story_of
from tests.conftest import TinyModel

pytestmark = [pytest.mark.model, pytest.mark.slow]

SMALL = (
    "clips.min_clip_s=2",
    "captions.screen_text=off",
    "captions.max_tokens=8",
    "captions.frame_short_side=64",
    "story.writer_max_tokens=32",
)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(2):
        render_film(folder / f"{number}.mp4", number, seconds=6, size=(160, 96))
    return folder


def opened(library: Path, model: Path, *more: str) -> Library:
    return Library(
        library, assignments=[*SMALL, "captions.captioner=transformers", f"captions.captioner_model={model}", *more]
    )


def hosts() -> list[int]:
    """Processes of this one that hold models."""
    found = []
    for child in children(os.getpid()):
        try:
            command = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:
            continue
        if "fdvs.hosting.host" in command:
            found.append(child)
    return found


def test_one_process_holds_the_model_and_says_what_the_model_says(
    films: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = tiny_model("qwen3_vl")
    seen: set[int] = set()
    notes: list[str] = []
    writer = ("story.writer=transformers", f"story.writer_model={folder}")
    with opened(tmp_path / "library", folder, *writer) as library:
        report = library.build([films], on_event=lambda *_: seen.update(hosts()), on_note=notes.append)
        assert report.exit_code == 0, report.rows
        assert len(seen) == 1
        assert not any(is_alive(one) for one in seen)
        assert notes == ["loading the model of the captioner and the writer"]
        assert report.usage is not None
        record = library.story("0.mp4").record
        captions = [caption for caption in record.captions if caption.kind is CaptionKind.VISUAL]

        chat = open_chat("transformers", "tiny", f"file:{folder}")
        clip = next(row for row in library._store.told_clips(record.video.id))
        assert clip.selection is not None
        pictures = KeptPictures(tmp_path / "library", 64).get(clip.clip.id, clip.selection.kept_ms)
        assert pictures
        (reply,) = chat.chat([caption_request(pictures, 8)])
        chat.close()
    first = next(caption for caption in captions if caption.clip_id == clip.clip.id)
    assert first.text in " ".join(reply.text.split()) or not first.text
    told = json.dumps(record.settings)
    assert str(folder) not in told
    assert f"{folder.name}@" in told


def test_captions_with_another_attention_are_other_captions(films: Path, tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = tiny_model("qwen3_vl")
    path, library = films / "0.mp4", tmp_path / "library"
    common: list[str | Path] = ["build", path, "-L", library, "--captioner", "transformers"]
    common += ["--captioner-model", folder, *(word for one in SMALL for word in ("--set", one))]
    choice = ["window=4", "group=2", "bias=log_count", "dense_below=100", "sinks=0", "keep_text=false"]
    sparse = ["--attention", "cca", *(word for one in choice for word in ("--attention-set", one))]
    ended = done(*common, *sparse)
    assert "attention cca (bias=log_count, group=2, " in ended.err
    assert "in 4 layers (gather); prompts below 100 tokens are dense" in ended.err
    assert re.search(r"^attention cca: [1-9] prompts attended by plan, \d\d% of their pairs", ended.err, re.MULTILINE)
    assert "Captions with attention: cca (bias=log_count, group=2, " in ended.out
    record = story_of(library, path.name)
    assert record["settings"]["captions"]["attention"] == "cca"
    assert "1 done already" in done(*common, *sparse, "--dry-run").out
    assert "1 to build" in done(*common, *sparse[:-2], "--dry-run").out
    assert "1 to build" in done(*common, "--dry-run").out

    with Library(library) as built:
        told = next(row for row in built._store.told_clips(record["video"]["id"]))
    assert told.selection is not None
    pictures = KeptPictures(library, 64).get(told.clip.id, told.selection.kept_ms)
    assert pictures
    replies = []
    for attention in (choice_of("cca", choice), None):
        chat = open_chat("transformers", "tiny", f"file:{folder}", Serving(attention=attention))
        replies += [" ".join(reply.text.split()) for reply in chat.chat([caption_request(pictures, 8)])]
        chat.close()
    written = next(one for one in record["captions"] if one["clip_id"] == told.clip.id and one["kind"] == "visual")
    assert written["text"] in replies[0]
    assert replies[1] != replies[0]


def test_a_model_that_cannot_be_loaded_is_said_before_anything_is_begun(films: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(
        '{"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]}'
    )
    (broken / "model.safetensors").write_bytes(b"not weights at all")
    with opened(tmp_path / "library", broken) as library, pytest.raises(BackendUnavailableError, match="broken"):
        library.build([films])
    assert not hosts()


def test_a_model_whose_process_dies_fails_the_videos_and_keeps_what_was_told(
    films: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    def kill(_job: int, _jobs: int, _name: str, event: object) -> None:
        if getattr(event, "kind", "") == "probed":
            for one in hosts():
                os.kill(one, signal.SIGKILL)

    with opened(tmp_path / "library", tiny_model("qwen3_vl"), "run.jobs=1") as library:
        report = library.build([films], on_event=kill)
        assert report.exit_code == 1
        assert {row.code for row in report.rows} == {"crashed"}
        assert all("has ended" in row.message for row in report.rows)
        assert wait_until(lambda: not hosts())
        assert library.build([films], retry_failed=True).exit_code == 0

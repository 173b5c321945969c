"""Models on this machine: found by folder or name, named the same everywhere, refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fdvs.chat.local import digest8, find_model, named_model, refuse_own_code
from fdvs.errors import BackendUnavailableError

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER_REVISION = "f" * 40


def save(folder: Path, weights: bytes = b"weights", config: dict[str, object] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "qwen2"}))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub in place of the user's."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub"


def in_cache(cache: Path, name: str, revision: str = REVISION, main: str | None = REVISION) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = save(repository / "snapshots" / revision)
    if main:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(main)
    return folder


def test_folder_is_named_by_its_name_and_its_content(tmp_path: Path) -> None:
    folder = save(tmp_path / "here" / "TinyVL")
    label, found = find_model(str(folder))
    assert label == f"TinyVL@{digest8(folder)}"
    assert len(digest8(folder)) == 8
    assert found == folder
    elsewhere = tmp_path / "there" / "TinyVL"
    shutil.copytree(folder, elsewhere)
    assert find_model(str(elsewhere))[0] == label


def test_folder_reached_by_a_link_or_with_a_dot_has_the_same_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "TinyVL")
    (tmp_path / "current").symlink_to(folder)
    monkeypatch.chdir(folder)
    assert find_model(".") == find_model(str(tmp_path / "current")) == find_model(str(folder))


@pytest.mark.parametrize("change", ["weights", "one byte", "settings", "another file", "longer"])
def test_digest_follows_whatever_changes_the_model(tmp_path: Path, change: str) -> None:
    folder = save(tmp_path / "model", bytes(3_000_000))
    before = digest8(folder)
    weights = folder / "model.safetensors"
    if change == "weights":
        weights.write_bytes(b"\1" * 3_000_000)
    elif change == "one byte":  # a small file is read whole
        weights.write_bytes(bytes(1_700_000) + b"\1" + bytes(1_299_999))
    elif change == "settings":
        (folder / "config.json").write_text('{"model_type": "llama"}')
    elif change == "another file":
        (folder / "more.safetensors").write_bytes(b"")
    else:
        weights.write_bytes(bytes(3_000_001))
    assert digest8(folder) != before


@pytest.mark.parametrize("at", [0, 10_000_000_000 - 1, (10_000_000_000 - 2**20) * 3 // 7])
def test_digest_of_a_huge_file_looks_at_eight_places(tmp_path: Path, at: int) -> None:
    folder = save(tmp_path / "model")
    with (folder / "model.safetensors").open("r+b") as handle:
        handle.truncate(10_000_000_000)  # takes no room on the disk, and reading all of it would take long
        handle.write(bytes(7))
    before = digest8(folder)
    with (folder / "model.safetensors").open("r+b") as handle:
        handle.seek(at)
        handle.write(b"\1")
    assert digest8(folder) != before


def test_hub_name_is_the_label_of_what_is_in_the_cache(cache: Path) -> None:
    folder = in_cache(cache, "someone/Model-1.5")
    assert find_model("someone/Model-1.5") == ("someone/Model-1.5", folder)


def test_only_revision_in_the_cache_is_taken_where_none_is_main(cache: Path) -> None:
    folder = in_cache(cache, "someone/model", main=None)
    assert find_model("someone/model")[1] == folder
    in_cache(cache, "someone/model", OTHER_REVISION, main=None)
    with pytest.raises(BackendUnavailableError, match="2 revisions"):
        find_model("someone/model")


def test_main_is_taken_of_several_revisions(cache: Path) -> None:
    in_cache(cache, "someone/model", OTHER_REVISION, main=None)
    folder = in_cache(cache, "someone/model")
    assert find_model("someone/model")[1] == folder


@pytest.mark.parametrize("main", [OTHER_REVISION, "../../elsewhere", ""])
def test_main_that_points_nowhere_is_not_here(cache: Path, main: str) -> None:
    in_cache(cache, "someone/model", main=None)
    (cache / "models--someone--model" / "refs").mkdir()
    (cache / "models--someone--model" / "refs" / "main").write_text(main)
    with pytest.raises(BackendUnavailableError, match="not on this machine"):
        find_model("someone/model")


def test_model_that_is_not_here_is_an_error_that_says_how_to_get_it(cache: Path) -> None:
    assert not cache.exists()
    with pytest.raises(BackendUnavailableError, match="fdvs models get some/thing, or hf download some/thing"):
        find_model("some/thing")


@pytest.mark.parametrize("name", ["absent", "a/b/c", "../up", "", "some thing/else"])
def test_what_is_neither_folder_nor_name_is_refused(
    cache: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(BackendUnavailableError, match=r"neither a folder nor|has no config\.json"):
        find_model(name)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BackendUnavailableError, match="no safetensors"):
        find_model(str(folder))


def test_download_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(BackendUnavailableError, match=r"1 of its files are missing \(model-2\.safetensors\)"):
        find_model(str(folder))
    (folder / "model-2.safetensors").write_bytes(b"rest")
    assert find_model(str(folder))[1] == folder


def test_folder_that_was_looked_up_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    assert named_model("someone/model", f"file:{folder}") == ("someone/model", folder)
    assert named_model("", f"file:{folder}") == find_model(str(folder))
    assert named_model(str(folder), "") == find_model(str(folder))
    with pytest.raises(BackendUnavailableError, match="for a server name openai"):
        named_model("someone/model", "http://127.0.0.1:8000/v1")


def test_model_with_code_of_its_own_is_refused_unless_its_type_is_known(tmp_path: Path) -> None:
    code = {"AutoModel": "modeling.Model"}
    own = save(tmp_path / "own", config={"model_type": "mine", "auto_map": code})
    known = save(tmp_path / "known", config={"model_type": "qwen2", "auto_map": code})
    new = save(tmp_path / "new", config={"model_type": "qwen9"})
    refuse_own_code("known", known, {"qwen2": None})
    with pytest.raises(BackendUnavailableError, match="fdvs runs no code of models"):
        refuse_own_code("own", own, {"qwen2": None})
    with pytest.raises(BackendUnavailableError, match="'qwen9', which the installed transformers does not know"):
        refuse_own_code("new", new, {"qwen2": None})


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_settings_that_cannot_be_read_are_a_clear_error(tmp_path: Path, text: str) -> None:
    folder = save(tmp_path / "model")
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BackendUnavailableError, match=r"config\.json of model"):
        refuse_own_code("model", folder, {})

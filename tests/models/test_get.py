"""Getting models: from a real hub client against a hub on loopback, with every byte that comes looked at."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdvs.errors import BackendUnavailableError, InputError, ServerError, UsageError
from fdvs.models import get, hub
from fdvs.models.here import cache_folder, find, find_recommended, repository_folder
from fdvs.models.lock import Locked, LockError, lock_path, read_lock, record
from fdvs.models.table import RECOMMENDED, by_name
from tests.cli.commands import done, fdvs
from tests.models.folders import model_folder
from tests.models.hub_stub import COMMIT, FILES, REPOSITORY, Hub, serving

pytest.importorskip("huggingface_hub")

LOADED = {"config.json", "tokenizer.json", "model.safetensors", "LICENSE"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def test_a_model_comes_whole_at_the_shown_revision_and_is_found_afterwards(here: Hub) -> None:
    ended = done("models", "get", REPOSITORY, "--yes", "--role", "writer")
    assert f"{REPOSITORY} at {COMMIT}: 0.00 GB, mit" in ended.err
    assert "free there" in ended.err
    locked = read_lock(os.environ)[REPOSITORY]
    assert ended.out == f"{REPOSITORY}@{COMMIT[:8]}: {locked.folder}\n"
    assert (locked.revision, locked.roles) == (COMMIT, ("writer",))
    assert locked.is_whole()
    found = find(REPOSITORY, os.environ)
    assert found is not None
    assert found.label == f"{REPOSITORY}@{COMMIT[:8]}"
    assert (found.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_no_pickle_and_no_code_is_ever_asked_for(here: Hub) -> None:
    done("models", "get", REPOSITORY, "--yes")
    assert here.fetched == LOADED
    assert {path.name for path in Path(read_lock(os.environ)[REPOSITORY].folder).iterdir()} == LOADED


def test_a_second_get_asks_for_nothing(here: Hub) -> None:
    done("models", "get", REPOSITORY, "--yes")
    here.asked.clear()
    ended = done("models", "get", REPOSITORY, "--yes")
    assert "already here" in ended.err
    assert not here.asked


def test_other_tools_find_the_model_by_its_name(here: Hub) -> None:
    from huggingface_hub import snapshot_download

    done("models", "get", REPOSITORY, "--yes")
    cache = cache_folder(os.environ)
    folder = snapshot_download(REPOSITORY, cache_dir=cache, local_files_only=True, allow_patterns=["*.json"])
    assert folder == read_lock(os.environ)[REPOSITORY].folder


def test_a_main_that_the_cache_knows_is_left_as_it_is(here: Hub) -> None:
    reference = repository_folder(REPOSITORY, os.environ) / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("f" * 40)
    done("models", "get", REPOSITORY, "--yes")
    assert reference.read_text() == "f" * 40


def test_the_revision_of_the_lock_file_stays_when_the_hub_moves_on(here: Hub) -> None:
    done("models", "get", REPOSITORY, "--yes")
    here.head = "f" * 40
    assert "already here" in done("models", "get", REPOSITORY, "--yes").err
    found = find_recommended(REPOSITORY, os.environ)
    assert found is not None
    assert found.label.endswith(COMMIT[:8])


def test_a_download_that_broke_goes_on_where_it_stopped(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    here.broken_after = 2000
    done("models", "get", REPOSITORY, "--yes")
    assert here.ranges == ["bytes=2000-"]
    folder = Path(read_lock(os.environ)[REPOSITORY].folder)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_without_a_terminal_nothing_is_fetched_unless_yes_is_said(here: Hub) -> None:
    ended = fdvs("models", "get", REPOSITORY)
    assert ended.code == 2
    assert "--yes" in ended.err
    assert not here.fetched
    assert not lock_path(os.environ).exists()


@pytest.mark.parametrize(("typed", "comes"), [("", False), ("n", False), ("y", True)])
def test_on_a_terminal_only_a_typed_yes_fetches(
    typed: str, comes: bool, here: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.cli.common.is_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, *, default, err: {"": default, "n": False, "y": True}[typed])
    ended = done("models", "get", REPOSITORY)
    assert bool(here.fetched) is comes
    assert ("Nothing was downloaded." in ended.err) is not comes


def test_a_repository_without_safetensors_is_refused(here: Hub) -> None:
    here.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    ended = fdvs("models", "get", REPOSITORY, "--yes")
    assert ended.code == 1
    assert "no safetensors" in ended.err
    assert not here.fetched


def test_a_model_that_does_not_exist_is_named(here: Hub) -> None:
    ended = fdvs("models", "get", "nobody/nothing", "--yes")
    assert ended.code == 1
    assert "no model 'nobody/nothing'" in ended.err


def test_a_full_disk_is_noticed_before_anything_is_asked(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: (10**6, 10**6, 0) and type("Usage", (), {"free": 100})())
    ended = fdvs("models", "get", REPOSITORY, "--yes")
    assert ended.code == 1
    assert "HF_HOME" in ended.err
    assert not here.fetched


def test_an_unreachable_hub_is_told_at_once_with_the_manual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    started = time.monotonic()
    ended = fdvs("models", "get", "small", "--yes")
    assert time.monotonic() - started < 20
    assert ended.code == 1
    assert "cannot be reached" in ended.err
    for model in RECOMMENDED:
        if "small" in model.sets:
            assert f"hf download {model.name} --revision {model.revision} --include '*.safetensors'" in ended.err
            assert f"fdvs models get {model.name} --from {model.name.partition('/')[2]}" in ended.err


def test_a_hub_that_says_nothing_is_given_up_after_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LISTING_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(hub.UnreachableError, match="By hand"):
            get.plan_all([REPOSITORY], os.environ)
    assert time.monotonic() - started < 10


def test_without_its_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(BackendUnavailableError, match=r"fdvs\[models\]"):
        get.plan_all([REPOSITORY], os.environ)


def test_a_copied_folder_becomes_the_model(home: Path) -> None:
    folder = model_folder(home / "copied")
    ended = done("models", "get", REPOSITORY, "--from", folder)
    assert re.fullmatch(rf"somebody/tiny@[0-9a-f]{{8}}: {re.escape(str(folder))}\n", ended.out)
    found = find(REPOSITORY, os.environ)
    assert found is not None
    assert found.folder == folder
    assert read_lock(os.environ)[REPOSITORY].revision == ""


def test_a_copied_folder_with_other_weights_than_the_table_says_is_refused(home: Path) -> None:
    folder = model_folder(home / "copied")
    ended = fdvs("models", "get", RECOMMENDED[0].name, "--from", folder)
    assert ended.code == 1
    assert str(RECOMMENDED[0].weights_bytes) in ended.err
    with pytest.raises(InputError, match="no model"):
        get.adopt(REPOSITORY, home / "hf", os.environ)
    assert fdvs("models", "get", "small", "--from", folder).code == 2


def test_a_folder_that_lost_a_file_is_not_here_any_more(home: Path) -> None:
    folder = model_folder(home / "copied")
    get.adopt(REPOSITORY, folder, os.environ)
    (folder / "model.safetensors").write_bytes(b"cut")
    assert find_recommended(REPOSITORY, os.environ) is None


def test_a_recommended_model_in_the_cache_is_found_without_the_lock_file() -> None:
    model = RECOMMENDED[0]
    snapshot = repository_folder(model.name, os.environ) / "snapshots"
    model_folder(snapshot / ("f" * 40))
    assert find_recommended(model.name, os.environ) is None, "another revision is another model"
    folder = model_folder(snapshot / model.revision)
    found = find_recommended(model.name, os.environ)
    assert found is not None
    assert found.folder == folder


def test_missing_parts_of_split_weights_are_noticed() -> None:
    model = RECOMMENDED[0]
    folder = repository_folder(model.name, os.environ) / "snapshots" / model.revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (folder / parts["a"]).write_bytes(b"1")
    assert find_recommended(model.name, os.environ) is None
    (folder / parts["b"]).write_bytes(b"2")
    assert find_recommended(model.name, os.environ) is not None


def test_a_damaged_lock_file_is_an_error_that_names_it() -> None:
    path = lock_path(os.environ)
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"format": 99, "models": {}}', '{"format": 1, "models": {"a": {}}}'):
        path.write_text(text)
        with pytest.raises(LockError, match=re.escape(str(path))):
            read_lock(os.environ)


def test_the_lock_file_keeps_other_models_and_leaves_no_partial_file(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Locked("a/a", "a/a@1", "1" * 40, "/a", ("writer",), {"model.safetensors": 1})
    second = Locked("b/b", "b/b@2", "2" * 40, "/b", (), {})
    record(os.environ, first)
    record(os.environ, second)
    assert read_lock(os.environ) == {"a/a": first, "b/b": second}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        record(os.environ, Locked("c/c", "c", "", "/c", (), {}))
    assert [path.name for path in lock_path(os.environ).parent.iterdir()] == ["models.json"]
    assert set(read_lock(os.environ)) == {"a/a", "b/b"}


def test_weights_that_are_there_twice_come_once() -> None:
    files = {
        "config.json": 1,
        "consolidated.safetensors": 10,
        "model-00001-of-00001.safetensors": 10,
        "model.fp16.safetensors": 5,
        "model.safetensors.index.json": 1,
        "onnx/config.json": 1,
        "huge.json": get.MAX_SMALL_FILE_BYTES + 1,
    }
    assert set(get.wanted_files(files)) == {
        "config.json",
        "model-00001-of-00001.safetensors",
        "model.safetensors.index.json",
    }


def test_the_list_says_what_is_here_and_what_it_needs(home: Path) -> None:
    get.adopt(REPOSITORY, model_folder(home / "copied"), os.environ, "writer")
    model_folder(repository_folder(RECOMMENDED[0].name, os.environ) / "snapshots" / RECOMMENDED[0].revision)
    rows = {row["name"]: row for row in done("models", "list", "--json").json["models"]}
    assert set(rows) == {model.name for model in RECOMMENDED} | {REPOSITORY}
    assert {name for name, row in rows.items() if row["folder"]} == {RECOMMENDED[0].name, REPOSITORY}
    text = done("models", "list").out
    for model in RECOMMENDED:
        assert model.name in text
        assert model.licence in text
        assert model.revision[:12] in text


def test_names_and_sets_that_do_not_exist_are_wrong_usage(here: Hub) -> None:
    for arguments in (["tiny"], ["/tmp/x"], ["small", "--role", "poet"], ["small", "--role", "objects"]):
        assert fdvs("models", "get", *arguments, "--yes").code == 2
    assert not here.asked


def test_a_hub_with_another_revision_than_the_pinned_one_is_not_believed(
    here: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.models.hub_stub.REPOSITORY", RECOMMENDED[0].name)
    with pytest.raises((ServerError, InputError)):
        get.plan_all([RECOMMENDED[0].name], os.environ)


def test_every_pin_of_the_table_is_a_whole_commit_and_sizes_are_possible() -> None:
    for model in RECOMMENDED:
        assert re.fullmatch(r"[0-9a-f]{40}", model.revision)
        assert by_name(model.name) is model
        assert model.memory_gb(2) < model.memory_gb(4)
        assert model.memory_gb(model.stored_bytes) > model.weights_bytes / 1e9
    assert len({model.revision for model in RECOMMENDED}) == len(RECOMMENDED)


def test_a_question_without_a_terminal_is_wrong_usage() -> None:
    from fdvs.cli.common import agreed

    with pytest.raises(UsageError, match="--yes"):
        agreed("Download?")

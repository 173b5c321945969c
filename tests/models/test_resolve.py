"""What `auto` and short names stand for: chosen from this machine alone, completed where a model is used."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.models import resolve as resolving
from fdvs.models.here import repository_folder
from fdvs.models.lock import LockError, lock_path
from fdvs.models.machine import has_cuda, in_process_back_end
from fdvs.models.resolve import Choice, choose, choose_role, complete, complete_role, resolve, resolve_role
from fdvs.models.table import default_for
from fdvs.settings import Scalar, Settings, load_settings
from tests.models.folders import downloaded, model_folder

LOCAL = "http://127.0.0.1:8000/v1"
AWAY = "https://models.example.com/v1"
AUTO: Mapping[str, Mapping[str, Scalar]] = {
    "captions": {"captioner": "auto"},
    "story": {"writer": "auto"},
    "answers": {"reader": "auto"},
}


def settings(flags: Mapping[str, Mapping[str, Scalar]], **environ: str) -> Settings:
    return load_settings(flags=flags, environ=environ)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def models_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Servers by address and what each offers."""
    offered: dict[str, tuple[str, ...]] = {}
    monkeypatch.setattr(resolving, "server_models", offered.__getitem__)
    return offered


def test_auto_without_anything_is_built_in_with_the_reason_and_leaves_no_trace(no_network: None) -> None:
    chosen, lines = choose(settings(AUTO))
    plain = settings({})
    assert chosen == plain
    assert [line.split(",")[0] for line in lines] == [
        f"{role} auto: builtin" for role in ("captioner", "writer", "reader")
    ]
    assert all("fdvs models get small" in line for line in lines)
    assert choose(plain) == (plain, ())


def test_auto_takes_the_small_model_that_is_here_without_a_gpu(packages: set[str], no_network: None) -> None:
    packages |= {"transformers", "torch", "vllm"}
    downloaded("captioner", "base")
    assert choose(settings(AUTO))[0].captions.captioner == "builtin", "too large for a CPU"
    label, folder = downloaded("captioner", "small")
    chosen, lines = choose(settings(AUTO))
    assert (chosen.captions.captioner, chosen.captions.captioner_model) == ("transformers", label)
    assert chosen.captions.captioner_url == f"file:{folder}"
    assert lines[0] == f"captioner auto: transformers with {label}, because it is on this machine"
    assert chosen.story.writer == "builtin"


@pytest.mark.parametrize(("installed", "back_end"), [({"vllm"}, "vllm"), ({"transformers", "torch"}, "transformers")])
def test_auto_takes_the_large_model_beside_a_gpu(
    installed: set[str], back_end: str, packages: set[str], gpu: None, no_network: None
) -> None:
    packages |= installed
    downloaded("captioner", "small")
    downloaded("writer", "base")
    label, _ = downloaded("captioner", "base")
    chosen, _ = choose(settings(AUTO))
    assert (chosen.captions.captioner, chosen.captions.captioner_model) == (back_end, label)
    assert chosen.story.writer_model == chosen.answers.reader_model == f"{default_for('writer', 'base').name}@cdbee75f"


def test_a_model_without_the_packages_that_run_it_is_not_chosen_and_the_line_says_so(packages: set[str]) -> None:
    downloaded("captioner", "small")
    chosen, lines = choose(settings(AUTO))
    assert chosen.captions.captioner == "builtin"
    assert "is here but cannot run: pip install 'fdvs[models]'" in lines[0]


def test_auto_takes_a_configured_server_on_this_machine(no_network: None) -> None:
    flags = {**AUTO, "captions": {"captioner": "auto", "captioner_url": LOCAL + "/"}}
    chosen, lines = choose(settings(flags))
    assert (chosen.captions.captioner, chosen.captions.captioner_url) == ("openai", LOCAL)
    assert f"openai at {LOCAL}, because it is configured and on this machine" in lines[0]
    assert chosen.story.writer == "builtin"
    assert choose_role("writer", "auto", "", "", {"OPENAI_BASE_URL": LOCAL}).name == "openai"


@pytest.mark.parametrize(
    "environ",
    [
        {"OPENAI_API_KEY": "sk-1"},
        {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": AWAY},
        {"OPENAI_BASE_URL": "https://localhost.example.com/v1"},
        {"OPENAI_BASE_URL": "https://127.0.0.1@example.com/v1"},
    ],
)
def test_auto_never_chooses_a_server_elsewhere(environ: dict[str, str], no_network: None) -> None:
    choice = choose_role("captioner", "auto", "", "", environ)
    assert (choice.name, choice.url) == ("builtin", "")
    assert ("auto sends nothing away" in choice.why) is ("OPENAI_BASE_URL" in environ)
    assert choose_role("captioner", "auto", "", AWAY, {}).name == "builtin"


def test_a_downloaded_model_comes_before_a_server(packages: set[str]) -> None:
    packages |= {"transformers", "torch"}
    downloaded("writer", "small")
    assert choose_role("writer", "auto", "", LOCAL).name == "transformers"


def test_auto_with_a_model_takes_that_one_or_says_that_it_is_not_here(home: Path, packages: set[str]) -> None:
    packages |= {"transformers", "torch"}
    folder = model_folder(home / "mine")
    choice = choose_role("writer", "auto", str(folder), "")
    assert (choice.name, choice.url) == ("transformers", f"file:{folder}")
    assert choice.model.startswith("mine@")
    away = choose_role("writer", "auto", "somebody/else", "")
    assert away.name == "builtin"
    assert "the model somebody/else is not on this machine" in away.why
    assert choose_role("writer", "auto", "somebody/else", LOCAL).model == "somebody/else"


def test_a_model_that_the_built_in_back_end_cannot_use_is_told(no_network: None) -> None:
    flags: Mapping[str, Mapping[str, Scalar]] = {"captions": {"captioner_model": "Qwen/Qwen3-VL-4B-Instruct"}}
    chosen, lines = choose(settings(flags))
    assert chosen.captions.captioner == "builtin"
    assert lines == (
        "captioner builtin does not use the model that is set for it; name openai, vllm, transformers to use it",
    )


def test_a_damaged_lock_file_matters_only_to_auto() -> None:
    path = lock_path(os.environ)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert choose(settings({}))[1] == ()
    with pytest.raises(LockError):
        choose(settings(AUTO))


def test_explicit_names_are_chosen_without_asking_anybody(no_network: None) -> None:
    flags: Mapping[str, Mapping[str, Scalar]] = {"captions": {"captioner": "openai", "captioner_url": AWAY}}
    given = settings(flags)
    assert choose(given) == (given, ())


def test_the_only_model_of_a_server_is_taken(models_of: dict[str, tuple[str, ...]]) -> None:
    models_of[LOCAL] = ("tiny",)
    flags: Mapping[str, Mapping[str, Scalar]] = {"captions": {"captioner": "openai", "captioner_url": f"{LOCAL}/"}}
    completed, _ = resolve(settings(flags))
    assert (completed.captions.captioner_model, completed.captions.captioner_url) == ("tiny", LOCAL)
    models_of.clear()
    assert complete(completed) == completed, "a named model is not asked for again"


@pytest.mark.parametrize(
    ("offered", "told"), [(("b", "a"), "2 models; name one with --writer-model: a, b"), ((), "none|no model")]
)
def test_several_models_of_a_server_are_listed_and_none_is_guessed(
    offered: tuple[str, ...], told: str, models_of: dict[str, tuple[str, ...]]
) -> None:
    models_of[LOCAL] = offered
    with pytest.raises(UsageError, match=told):
        complete_role("writer", "openai", "", LOCAL)


def test_a_server_elsewhere_is_not_asked_for_its_models(no_network: None) -> None:
    with pytest.raises(UsageError, match="--writer-model"):
        complete_role("writer", "openai", "", AWAY, {})


def test_openai_without_an_address_says_how_to_give_one() -> None:
    with pytest.raises(UsageError, match="--captioner-url"):
        complete_role("captioner", "openai", "m", "", {})
    assert complete_role("captioner", "openai", "m", "", {"OPENAI_API_KEY": "sk-1"}).url == "https://api.openai.com/v1"
    assert complete_role("captioner", "openai", "m", "", {"OPENAI_BASE_URL": AWAY}).url == AWAY


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_in_process_models_get_a_name_without_a_path_and_the_address_of_their_folder(name: str, home: Path) -> None:
    folder = model_folder(home / "mine")
    completed = complete_role("captioner", name, str(folder), "")
    assert completed == complete_role("captioner", name, "", f"file:{folder}")
    assert completed.url == f"file:{folder}"
    assert completed.model.startswith("mine@")
    assert "/" not in completed.model
    assert complete_role("captioner", name, completed.model, completed.url) == completed
    other = model_folder(home / "elsewhere" / "mine", b"other weights")
    assert complete_role("captioner", name, str(other), "").model != completed.model


def test_in_process_without_a_model_takes_the_recommended_one_or_says_how_to_get_it(packages: set[str]) -> None:
    with pytest.raises(BackendUnavailableError, match="fdvs models get small"):
        complete_role("writer", "transformers", "", "")
    label, folder = downloaded("writer", "small")
    assert complete_role("writer", "transformers", "", "") == Choice("transformers", label, f"file:{folder}")


def test_a_model_that_is_not_here_says_what_to_do(home: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="fdvs models get somebody/else"):
        complete_role("writer", "vllm", "somebody/else", "")
    (home / "empty").mkdir()
    with pytest.raises(BackendUnavailableError, match=r"no config\.json"):
        complete_role("writer", "vllm", str(home / "empty"), "")
    assert "config.json" in choose_role("writer", "auto", str(home / "empty"), "").why
    with pytest.raises(UsageError, match="name openai"):
        complete_role("writer", "vllm", "m", LOCAL)


def test_a_model_that_another_tool_brought_is_found_by_its_name() -> None:
    repository = repository_folder("somebody/else", os.environ)
    folder = model_folder(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    found = complete_role("writer", "transformers", "somebody/else", "")
    assert found == Choice("transformers", "somebody/else@aaaaaaaa", f"file:{folder}")


def test_clip_takes_open_clip_specs_folders_and_the_recommended_model(home: Path) -> None:
    spec = "open_clip:ViT-B-32:/weights.safetensors"
    assert complete_role("captioner", "clip", spec, "") == Choice("clip", spec, "")
    with pytest.raises(BackendUnavailableError, match="fdvs models get google/siglip"):
        complete_role("captioner", "clip", "", "")
    label, folder = downloaded("clip", "small")
    for model in ("", "google/siglip-base-patch16-224", "transformers:google/siglip-base-patch16-224"):
        assert complete_role("captioner", "clip", model, "") == Choice("clip", label, f"file:{folder}")
    mine = model_folder(home / "mine")
    assert complete_role("captioner", "clip", str(mine), "").url == f"file:{mine}"


def test_the_perception_of_the_paper_has_its_models_from_the_table() -> None:
    paper: Mapping[str, Mapping[str, Scalar]] = {"captions": {"captioner": "paper", "action_model": "mine"}}
    captions = complete(settings(paper)).captions
    assert captions.detector_model == "IDEA-Research/grounding-dino-tiny"
    assert captions.action_model == "mine"
    assert captions.frame_caption_model == "Salesforce/blip2-opt-2.7b"
    enriched = complete(settings({"captions": {"enrich": "objects, action"}})).captions
    assert (bool(enriched.detector_model), bool(enriched.action_model)) == (True, True)
    assert enriched.frame_caption_model == ""
    assert complete(settings({})) == settings({})


def test_one_role_alone_is_resolved_for_a_question(models_of: dict[str, tuple[str, ...]]) -> None:
    models_of[LOCAL] = ("tiny",)
    choice = resolve_role("reader", "auto", "", LOCAL, {})
    assert (choice.name, choice.model, choice.url) == ("openai", "tiny", LOCAL)
    assert choice.why
    assert resolve_role("reader", "builtin", "", "", {}) == Choice("builtin", "", "")


def test_a_hidden_gpu_is_none(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.models.machine.has_package", lambda name: True)
    assert has_cuda({})
    assert in_process_back_end({}) == "vllm"
    for hidden in ("", "-1"):
        assert not has_cuda({"CUDA_VISIBLE_DEVICES": hidden})
        assert in_process_back_end({"CUDA_VISIBLE_DEVICES": hidden}) == "transformers"

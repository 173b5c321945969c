"""What the user said about models, made explicit: back end, model and where it is, for captioner, writer and reader.

Two steps. `choose` settles what `auto` stands for, from this machine alone, so that any command may call it. `complete`
finds folders and asks servers for their model, and is for commands that are about to use the models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from fdvs.chat.hosts import OPENAI, is_loopback, server_of
from fdvs.chat.registry import BACK_ENDS, IN_PROCESS
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.models import here
from fdvs.models.machine import has_cuda, in_process_back_end
from fdvs.models.table import Recommended, Role, default_for
from fdvs.settings import AnswerSettings, CaptionSettings, Settings, StorySettings

TextRole = Literal["captioner", "writer", "reader"]
AUTO = "auto"
BUILTIN = "builtin"
CLIP: Literal["clip"] = "clip"
PAPER = "paper"
FOLDER = "file:"
MODELS_LISTED = 20  # of a server, in an error message

# What `captions.enrich` and the captioner `paper` use: (name in `enrich`, setting, role in the table).
_PERCEPTION: tuple[tuple[str, str, Role], ...] = (
    ("objects", "detector_model", "objects"),
    ("action", "action_model", "action"),
    ("frame_captions", "frame_caption_model", "frame_captions"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who does a role: back end, model and where it is; `why` is a line for people where something was chosen."""

    name: str
    model: str
    url: str
    why: str = ""


def resolve(settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[Settings, tuple[str, ...]]:
    """`choose` and `complete` in one: explicit settings for commands that use the models, and why."""
    chosen, lines = choose(settings, environ)
    return complete(chosen, environ), lines


def choose(settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[Settings, tuple[str, ...]]:
    """Settings that name what `auto` stands for, and a line for people on each choice and its reason.

    Stories, hashes and exports only ever see the chosen name: what wrote a story must not hide behind `auto`. Asks no
    server, loads nothing.

    Raises:
        LockError: `auto` is wanted and the lock file of models cannot be read.
    """
    lines = []
    for role in ("captioner", "writer", "reader"):
        choice = choose_role(role, *_said(settings, role), environ)
        settings = _put(settings, role, choice)
        if choice.why:
            lines.append(choice.why)
    return settings, tuple(lines)


def complete(settings: Settings, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings whose models are named in full and whose addresses are set. Doing it twice changes nothing more.

    The reader is left alone: `ask` completes its own with `resolve_role`.

    Raises:
        UsageError: nothing says where a server is, or which of its models is meant.
        BackendUnavailableError: a model's files are not on this machine; the message says how to get them.
        ServerError: a server does not answer.
    """
    for role in ("captioner", "writer"):
        settings = _put(settings, role, complete_role(role, *_said(settings, role), environ))
    return replace(settings, captions=_with_perception(settings.captions))


def resolve_role(role: TextRole, name: str, model: str, url: str, environ: Mapping[str, str] | None = None) -> Choice:
    """One role alone, chosen and completed; raises what `complete` raises."""
    chosen = choose_role(role, name, model, url, environ)
    completed = complete_role(role, chosen.name, chosen.model, chosen.url, environ)
    return replace(completed, why=chosen.why)


def choose_role(role: TextRole, name: str, model: str, url: str, environ: Mapping[str, str] | None = None) -> Choice:
    """What `auto` stands for: a model that is here, else a loopback server, else `builtin`. Never a hosted server."""
    if name != AUTO:
        unused = name == BUILTIN and (model or url)
        why = f"{role} builtin does not use the model that is set for it; name {_known()} to use it" if unused else ""
        return Choice(name, model, url, why)
    where = os.environ if environ is None else environ
    local = _local_choice(role, model, where)
    if local.name != BUILTIN:
        return local
    server = (url or where.get("OPENAI_BASE_URL", "")).rstrip("/")
    if server.startswith(("http://", "https://")):
        if is_loopback(server):
            why = f"{role} auto: openai at {server}, because it is configured and on this machine; {local.why}"
            return Choice("openai", model, server, why)
        reason = "the server that is configured is elsewhere, and auto sends nothing away: name openai to use it"
        return Choice(BUILTIN, "", "", f"{role} auto: builtin, because {local.why}, and {reason}")
    get = " (fdvs models get small gets one)" if not model else ""
    return Choice(
        BUILTIN, "", "", f"{role} auto: builtin, because {local.why}{get} and no server on this machine is configured"
    )


def _local_choice(role: TextRole, model: str, environ: Mapping[str, str]) -> Choice:
    """A model that runs in this process; `builtin` with the reason where there is none."""
    back_end = in_process_back_end(environ)
    if model:
        label = f"the model {model}"
        try:
            found = here.find(model, environ)
        except BackendUnavailableError as error:
            return Choice(BUILTIN, "", "", str(error))
    else:
        recommended = _recommended_here(role, environ)
        label, found = (recommended[0].name, recommended[1]) if recommended else ("a recommended model", None)
    if found is None:
        return Choice(BUILTIN, "", "", f"{label} is not on this machine" if model else "no recommended model is here")
    if back_end is None:
        return Choice(BUILTIN, "", "", f"{label} is here but cannot run: pip install 'fdvs[models]'")
    why = f"{role} auto: {back_end} with {found.label}, because it is on this machine"
    return Choice(back_end, found.label, _url(found.folder), why)


def _recommended_here(role: Role, environ: Mapping[str, str]) -> tuple[Recommended, here.Here] | None:
    """The best recommended model of a role that is here: with a GPU the large one, without one only the small one."""
    for size in ("base", "small") if has_cuda(environ) else ("small",):
        model = default_for(role, size)
        if (found := here.find_recommended(model.name, environ)) is not None:
            return model, found
    return None


def complete_role(role: TextRole, name: str, model: str, url: str, environ: Mapping[str, str] | None = None) -> Choice:
    """One explicit back end with its model named in full and its address; raises what `complete` raises."""
    where = os.environ if environ is None else environ
    if name == "openai":
        return _at_server(role, model, url, where)
    if name in IN_PROCESS:
        return _in_process(role, name, model, url, where)
    if name == CLIP:
        return _clip(model, url, where)
    return Choice(name, model, url)


def _at_server(role: TextRole, model: str, url: str, environ: Mapping[str, str]) -> Choice:
    server = (url or environ.get("OPENAI_BASE_URL", "") or (OPENAI if environ.get("OPENAI_API_KEY") else "")).rstrip(
        "/"
    )
    if not server.startswith(("http://", "https://")):
        raise UsageError(
            f"the {role} openai needs the address of a server: --{role}-url http://127.0.0.1:8000/v1, or the variable "
            f"OPENAI_BASE_URL; for OpenAI itself {OPENAI}"
        )
    if model:
        return Choice("openai", model, server)
    if not is_loopback(server):  # it is not asked for its models: nobody has agreed to it yet
        raise UsageError(f"which model of {server_of(server)} is meant? Name one with --{role}-model")
    offered = server_models(server)
    if len(offered) == 1:
        return Choice("openai", offered[0], server)
    if not offered:
        raise UsageError(f"{server} names no model; name one with --{role}-model")
    listed = ", ".join(sorted(offered)[:MODELS_LISTED]) + (", …" if len(offered) > MODELS_LISTED else "")
    raise UsageError(f"{server} has {len(offered)} models; name one with --{role}-model: {listed}")


def _in_process(role: TextRole, name: str, model: str, url: str, environ: Mapping[str, str]) -> Choice:
    if url.startswith(("http://", "https://")):
        raise UsageError(f"the {role} {name} loads its model itself and uses no server; for {url} name openai")
    if url.startswith(FOLDER) and model:
        return Choice(name, model, url)
    spec = url.removeprefix(FOLDER) or model
    if not spec:
        recommended = _recommended_here(role, environ)
        if recommended is None:
            raise BackendUnavailableError(
                f"the {role} {name} has no model: get the recommended ones with fdvs models get small (or base, for a "
                f"GPU), or name a folder or a model with --{role}-model"
            )
        found: here.Here | None = recommended[1]
    else:
        found = here.find(spec, environ)
    if found is None:
        raise _not_here(spec)
    return Choice(name, found.label, _url(found.folder))


def _clip(model: str, url: str, environ: Mapping[str, str]) -> Choice:
    """`open_clip:…` as it is; a folder, a hub name or nothing becomes a folder of a CLIP or SigLIP model."""
    if model.startswith("open_clip:") or (model and url.startswith(FOLDER)):
        return Choice(CLIP, model, url)
    spec = url.removeprefix(FOLDER) or model.removeprefix("transformers:") or default_for(CLIP, "small").name
    found = here.find(spec, environ)
    if found is None:
        raise _not_here(spec)
    return Choice(CLIP, found.label, _url(found.folder))


def _not_here(spec: str) -> BackendUnavailableError:
    get = f": fdvs models get {spec}" if here.is_hub_name(spec) and not Path(spec).exists() else ""
    return BackendUnavailableError(
        f"{spec} is neither a folder with config.json and safetensors weights nor a model that was downloaded, and "
        f"fdvs downloads nothing by itself{get}"
    )


def _with_perception(captions: CaptionSettings) -> CaptionSettings:
    """The models of the paper's perception, those of the table where none is named."""
    enriched = {part.strip() for part in captions.enrich.split(",")}
    defaults: dict[str, Any] = {
        setting: default_for(role, PAPER).name
        for part, setting, role in _PERCEPTION
        if (captions.captioner == PAPER or part in enriched) and not getattr(captions, setting)
    }
    return replace(captions, **defaults)


def _known() -> str:
    return ", ".join(BACK_ENDS)


def _url(folder: Path) -> str:
    return f"{FOLDER}{folder}"


def _said(settings: Settings, role: TextRole) -> tuple[str, str, str]:
    table: Any = _table(settings, role)
    return getattr(table, role), getattr(table, f"{role}_model"), getattr(table, f"{role}_url")


def _put(settings: Settings, role: TextRole, choice: Choice) -> Settings:
    values: dict[str, Any] = {role: choice.name, f"{role}_model": choice.model, f"{role}_url": choice.url}
    if role == "captioner":
        return replace(settings, captions=replace(settings.captions, **values))
    if role == "writer":
        return replace(settings, story=replace(settings.story, **values))
    return replace(settings, answers=replace(settings.answers, **values))


def _table(settings: Settings, role: TextRole) -> CaptionSettings | StorySettings | AnswerSettings:
    if role == "captioner":
        return settings.captions
    return settings.story if role == "writer" else settings.answers


def server_models(where: str) -> tuple[str, ...]:
    """The names of the models that a server has; a ServerError where it does not answer."""
    asked: Sequence[str] = import_module("fdvs.chat.openai").server_models(where)
    return tuple(asked)

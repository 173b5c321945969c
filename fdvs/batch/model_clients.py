"""What a worker asks: the captioner and the writer of its job, in this process, in the hosting one, or on a server."""

from __future__ import annotations

from pathlib import Path

from fdvs.batch.jobs import Job
from fdvs.captioners.base import HEAVY, OVER_CHAT, Captioner, captioner, enriches
from fdvs.chat.base import ChatModel
from fdvs.chat.registry import IN_PROCESS, Serving, open_chat
from fdvs.settings import Settings

SLOTS_NAME = "requests.lock"
"""File of a library whose byte ranges bound the requests of all workers of all builds."""


def serving_of(settings: Settings, library: Path | None) -> Serving:
    """How requests of these settings are carried out."""
    run = settings.run
    return Serving(
        requests=run.requests,
        timeout_s=run.request_timeout_s,
        retries=run.request_retries,
        slots=None if library is None else library / SLOTS_NAME,
        frames_as=settings.captions.frames_as,
    )


def captioner_for(job: Job, settings_hash: str) -> Captioner:
    """The captioner of a job's settings, with what enriches it."""
    made = _captioner(job, settings_hash)
    if not enriches(job.settings.captions):
        return made
    from fdvs.captioners.joined import Joined
    from fdvs.hosting.clients import HostedCaptioner

    return Joined(made, HostedCaptioner(job.models, "enricher"))


def _captioner(job: Job, settings_hash: str) -> Captioner:
    captions = job.settings.captions
    if captions.captioner in HEAVY:
        from fdvs.hosting.clients import HostedCaptioner

        return HostedCaptioner(job.models, "captioner")
    chat = None
    if captions.captioner in OVER_CHAT:
        chat = _chat(job, "captioner", captions.captioner, captions.captioner_model, captions.captioner_url)
    return captioner(captions, settings_hash, chat)


def writer_for(job: Job) -> ChatModel | None:
    """The model that writes the story; None for the built-in writer."""
    story = job.settings.story
    if story.writer == "builtin":
        return None
    return _chat(job, "writer", story.writer, story.writer_model, story.writer_url)


def _chat(job: Job, role: str, name: str, model: str, where: str) -> ChatModel:
    if name in IN_PROCESS:
        from fdvs.hosting.clients import HostedChat

        return HostedChat(job.models, role)
    return open_chat(name, model, where, serving_of(job.settings, Path(job.library)))

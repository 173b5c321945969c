"""What a build would send to a server elsewhere, told to whoever has to agree to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from fdvs.batch.jobs import Event, Job
from fdvs.chat.hosts import TokenEstimate, consent_text, estimate_tokens, is_loopback, server_of
from fdvs.models.consent import Ask, build_hosts, needs_consent, obtain_consent
from fdvs.settings import Settings
from fdvs.store.library import Store

CLIPS_PER_NODE = 4  # a guess on the safe side of how many clips a scene has; chapters are a part of the scenes
WRITER_PROMPT_CHARS = 6000  # of one request of the writer, on the safe side

Probe = Callable[[Sequence[Job]], Sequence[Event]]


def obtain_leave(
    store: Store, jobs: Sequence[Job], settings: Settings, probe: Probe, *, ask: Ask | None = None
) -> None:
    """Make sure that somebody agrees to all that is sent away, before anything is.

    Args:
        probe: looks at the files of jobs and says how many clips they have; called only where somebody has to be asked.

    Raises:
        ConsentError: nobody agreed; nothing was sent.
    """
    hosts = build_hosts(settings)
    if not needs_consent(hosts, store):
        return

    @cache
    def num_clips() -> int:
        return sum(event.clips_total or 0 for event in probe(jobs))

    def tell(host: str) -> str:
        return _told(host, num_clips(), settings)

    obtain_consent(hosts, store, tell, allow_hosted=settings.run.allow_hosted, ask=ask)


def _told(host: str, num_clips: int, settings: Settings) -> str:
    captions, story, run = settings.captions, settings.story, settings.run
    frames = requests = 0
    tokens = TokenEstimate(0, 0)
    if _goes_to(host, captions.captioner, captions.captioner_url):
        frames = num_clips * settings.clips.samples_per_clip
        requests = num_clips
        side, most = captions.frame_short_side, captions.max_tokens
        tokens += estimate_tokens(num_clips, frames, short_side=side, max_tokens=most)
    if _goes_to(host, story.writer, story.writer_url):
        nodes = 1 + num_clips // CLIPS_PER_NODE
        requests += nodes
        tokens += estimate_tokens(nodes, 0, prompt_chars=WRITER_PROMPT_CHARS, max_tokens=story.writer_max_tokens)
    return consent_text(
        host,
        num_requests=requests,
        num_frames=frames,
        tokens=tokens,
        price_in=run.price_in,
        price_out=run.price_out,
    )


def _goes_to(host: str, name: str, url: str) -> bool:
    return name == "openai" and not is_loopback(url) and server_of(url) == host

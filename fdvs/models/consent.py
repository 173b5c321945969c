"""Leave to send something of a library to a server that is not this machine: asked once for each library and host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from fdvs.chat.hosts import host_of, is_loopback
from fdvs.errors import ConsentError
from fdvs.settings import Settings

if TYPE_CHECKING:
    from fdvs.store.library import Store

Ask = Callable[[str], bool]
"""Shows people a text and asks; True: they agree."""


def hosted(*servers: tuple[str, str]) -> tuple[str, ...]:
    """The hosts, each once, of those (back end, address) that are servers elsewhere."""
    found = [host_of(url) for name, url in servers if name == "openai" and url and not is_loopback(url)]
    return tuple(dict.fromkeys(found))


def build_hosts(settings: Settings) -> tuple[str, ...]:
    """The hosts elsewhere that a build with completed settings sends to."""
    captions, story = settings.captions, settings.story
    return hosted((captions.captioner, captions.captioner_url), (story.writer, story.writer_url))


def needs_consent(hosts: Iterable[str], store: Store | None) -> tuple[str, ...]:
    """Of these hosts, those that nobody has agreed to for this library; None: a library that is not there yet."""
    agreed: Collection[str] = store.agreed_hosts() if store is not None else ()
    return tuple(host for host in hosts if host not in agreed)


def obtain_consent(
    hosts: Iterable[str], store: Store | None, what: str, *, allow_hosted: bool = False, ask: Ask | None = None
) -> tuple[str, ...]:
    """Make sure of the agreement to all hosts before anything is sent.

    Args:
        store: where agreements are remembered; None: the library is not there yet, and the caller remembers the hosts
            that are returned.
        what: what would be sent, in a sentence for people.
        allow_hosted: agreed ahead, by `--yes` or the setting `run.allow_hosted`; not remembered, so that a script has
            to say it each time.
        ask: how to ask somebody; None: nobody is there.

    Returns:
        The hosts that were newly agreed to by being asked.

    Raises:
        ConsentError: not agreed; nothing was sent.
    """
    wanted = needs_consent(hosts, store)
    if not wanted or allow_hosted:
        return ()
    named = " and ".join(wanted)
    if ask is None:
        raise ConsentError(
            f"{what} would go to {named}, and nobody has agreed to that for this library; nothing was sent. Agree with "
            "--yes, or with the setting run.allow_hosted=true"
        )
    if not ask(f"{what} would go to {named}, which is not this machine."):
        raise ConsentError(f"not agreed: nothing was sent to {named}")
    if store is not None and not store.readonly:
        for host in wanted:
            store.agree_to_host(host)
    return wanted

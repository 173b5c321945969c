"""Leave to send something of a library to a server that is not this machine: asked once for each library and host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from fdvs.chat.hosts import is_loopback, server_of
from fdvs.errors import ConsentError
from fdvs.settings import Settings

if TYPE_CHECKING:
    from fdvs.store.library import Store

Ask = Callable[[str], bool]
"""Shows people a text and asks; True: they agree."""

Tell = Callable[[str], str]
"""What would be sent to a host, in words: `fdvs.chat.hosts.consent_text` with its amounts."""


def hosted(*servers: tuple[str, str]) -> tuple[str, ...]:
    """Scheme, host and port, each once, of those (back end, address) that are servers elsewhere.

    Raises:
        UsageError: an address is none.
    """
    found = [server_of(url) for name, url in servers if name == "openai" and url and not is_loopback(url)]
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
    hosts: Iterable[str], store: Store | None, tell: Tell, *, allow_hosted: bool = False, ask: Ask | None = None
) -> tuple[str, ...]:
    """Make sure of the agreement to all hosts before anything is sent.

    Args:
        store: where agreements are remembered; None: the library is not there yet, and the caller remembers the hosts
            that are returned.
        tell: what would be sent to a host, how much and about what cost, for people.
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
    told = " ".join(tell(host) for host in wanted)
    if ask is None:
        raise ConsentError(
            f"{told} Nobody has agreed to that for this library; nothing was sent. Agree with --yes, or with the "
            "setting run.allow_hosted=true"
        )
    if not ask(told):
        raise ConsentError(f"not agreed: nothing was sent to {' or '.join(wanted)}")
    if store is not None and not store.readonly:
        for host in wanted:
            store.agree_to_host(host)
    return wanted

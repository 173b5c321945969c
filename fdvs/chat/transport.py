"""Bytes to a model's server and back: one attempt, bounded in time and size. A key goes to that server only."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fdvs.chat.hosts import Address, is_loopback
from fdvs.chat.replies import MAX_REPLY_BYTES, shortened
from fdvs.errors import UsageError

if TYPE_CHECKING:
    import httpx

_CONNECT_S = 10.0
_KEEP_S = 4.0  # servers drop an idle connection after 5 s or more; a request must not meet one that is being dropped


def key_from_environment() -> str:
    """`OPENAI_API_KEY`, or empty.

    Raises:
        UsageError: it cannot be sent; the message does not show it.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise UsageError("OPENAI_API_KEY holds characters that no key has (blanks, line breaks, letters with accents)")
    return key


def client_options(address: Address, key: str) -> dict[str, Any]:
    """How any httpx client for this server is made.

    Nothing of the environment (proxies) applies on this machine itself, and no redirect is followed: the key would
    travel along. Certificates are checked; without TLS there are none, and reading those of all authorities takes long.
    """
    import httpx

    uses_environment = not is_loopback(address.urls[0])
    has_tls = address.urls[0].startswith("https://")
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "fdvs"}
    if key and address.login is None:
        headers["Authorization"] = f"Bearer {key}"
    return {
        "headers": headers,
        "auth": address.login,
        "follow_redirects": False,
        "trust_env": uses_environment,
        "verify": httpx.create_ssl_context(trust_env=uses_environment) if has_tls else _trusting_nobody(),
    }


def _trusting_nobody() -> ssl.SSLContext:
    """What a client without TLS gets: should it ever meet a certificate, it refuses it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Connections:
    """Connections to one server, each with a client of its own.

    A shared pool looks at all its connections, several times per request: with many that takes longer than the request.
    """

    def __init__(self, address: Address, key: str, timeout_s: float) -> None:
        import httpx

        self._options = client_options(address, key) | {
            "limits": httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_S),
            "timeout": httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s), pool=None),
        }
        self._timeout_s = timeout_s
        self._free: list[httpx.AsyncClient] = []  # the last used is the first to be used again: it may still be open

    async def post(self, url: str, body: bytes) -> Heard:
        """Send one request and read its response to the end, on a connection that nobody else uses meanwhile.

        A connection that had trouble, or on which a request was given up, is not used again.
        """
        client, heard = self._free.pop() if self._free else self._another(), None
        try:
            heard = await _post(client, url, body, self._timeout_s)
            return heard
        finally:
            if heard is None or heard.trouble:
                await client.aclose()
            else:
                self._free.append(client)

    async def close(self) -> None:
        """Close all that are not in use; a second call does nothing."""
        while self._free:
            await self._free.pop().aclose()

    def _another(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(**self._options)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one attempt: a response, or the `trouble` that there is none, in words for people.

    Attributes:
        is_final: trouble that another attempt meets again.
        is_unreachable: no connection came about.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    trouble: str = ""
    is_final: bool = False
    is_unreachable: bool = False


async def _post(client: httpx.AsyncClient, url: str, body: bytes, timeout_s: float) -> Heard:
    """One request and its response, all within `timeout_s`; whatever goes wrong is `trouble`."""
    import httpx

    try:
        async with asyncio.timeout(timeout_s):
            headers = {"Content-Type": "application/json"}
            async with client.stream("POST", url, content=body, headers=headers) as response:
                read = bytearray()
                async for piece in response.aiter_bytes():
                    read += piece
                    if len(read) > MAX_REPLY_BYTES:
                        return Heard(
                            trouble=f"the server's reply is longer than {MAX_REPLY_BYTES:,} bytes", is_final=True
                        )
                return Heard(response.status_code, response.headers, bytes(read))
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        return Heard(trouble=f"no reply within {timeout_s:g} s")
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        return Heard(trouble=f"no connection ({shortened(str(error), 100) or 'timed out'})", is_unreachable=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Heard(trouble=f"the connection broke off ({type(error).__name__})")

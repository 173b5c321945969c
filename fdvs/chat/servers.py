"""What a model's server says of itself: which models it has, and how much each can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdvs.chat.hosts import Address, address_of, server_of
from fdvs.chat.replies import MAX_REPLY_BYTES, clean_of, error_in, message_in, shortened
from fdvs.chat.transport import client_options, key_from_environment
from fdvs.errors import ServerError

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 15.0
_CONTEXT_NAMES = ("max_model_len", "context_length", "context_window")  # vLLM and SGLang, then hosted ones


@dataclass(frozen=True, slots=True)
class Listing:
    """A server's models.

    Attributes:
        url: the base address below which they were found.
        context_tokens: by model name, what a request and its reply may have; 0 where the server does not say.
    """

    url: str
    context_tokens: Mapping[str, int]


def server_models(where: str) -> list[str]:
    """The names of the models at the address `where` (empty: `OPENAI_BASE_URL`, or OpenAI's).

    Raises:
        UsageError: the address or the key cannot be one.
        ServerError: the server does not answer, refuses, or lists nothing; the message names it.
    """
    address, key = address_of(where), key_from_environment()
    listing, trouble = list_models(address, key)
    if listing is None:
        raise ServerError(f"{server_of(address.urls[0])} does not list its models ({trouble})")
    return list(listing.context_tokens)


def list_models(address: Address, key: str) -> tuple[Listing | None, str]:
    """The listing of a server and, where it has none, why. Not every server lists its models.

    Raises:
        ServerError: it does not answer at all, or takes no request without another key.
    """
    import httpx

    server, trouble = server_of(address.urls[0]), ""
    try:
        with httpx.Client(**client_options(address, key), timeout=httpx.Timeout(_TIMEOUT_S)) as client:
            for url in address.urls:
                status, body = _get(client, f"{url}/models")
                if status == 401:
                    raise ServerError(_refusal(server, key, body))
                found = _listed(body) if status == 200 else None
                if found is not None:
                    return Listing(url, found), ""
                trouble = trouble or f"HTTP {status}: {clean_of(message_in(error_in(body)), key, '')}".rstrip(": ")
    except httpx.TransportError as error:
        raise ServerError(
            f"no server answers at {server} ({shortened(str(error), 100) or type(error).__name__}); "
            "start one there, for example with fdvs serve MODEL, or give the address of another"
        ) from error
    return None, trouble


def _get(client: httpx.Client, url: str) -> tuple[int, bytes]:
    with client.stream("GET", url) as response:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_REPLY_BYTES:
                break
        return response.status_code, bytes(body)


def _refusal(server: str, key: str, body: bytes) -> str:
    told = clean_of(message_in(error_in(body)), key, "")
    what = "refuses the key in OPENAI_API_KEY" if key else "wants a key: set OPENAI_API_KEY"
    return f"{server} {what}" + (f" ({told})" if told else "")


def _listed(body: bytes) -> dict[str, int] | None:
    data = error_in(body)
    if not isinstance(data, Mapping) or "data" not in data:
        return None
    rows = data["data"] or []  # Ollama without models says null
    if not isinstance(rows, list):
        return None
    named = [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("id"), str)]
    return {shortened(row["id"]): _context(row) for row in named}


def _context(row: Mapping[str, object]) -> int:
    counts = (row.get(name) for name in _CONTEXT_NAMES)
    return next((count for count in counts if isinstance(count, int) and 0 < count < 1 << 40), 0)

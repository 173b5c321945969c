"""Where a model's server stands: its address, whether that is this machine, and what leaving the machine would mean."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from fdvs.errors import UsageError

OPENAI = "https://api.openai.com/v1"

_VERSION = re.compile(r"/v\d+(?:[a-z]+\d*)?$")
_TOKENS_PER_PICTURE_PIXEL = 1 / (28 * 28)  # what a picture costs a vision-language model of today, about
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address. `urls` are the bases to try in order, without credentials; `login` is name and password."""

    urls: tuple[str, ...]
    login: tuple[str, str] | None = None


def address_of(where: str) -> Address:
    """The address that a user gave, or `OPENAI_BASE_URL`, or that of OpenAI.

    The API stands below `/v1` in most servers, and people leave that out: then it is tried as well.

    Raises:
        UsageError: it is no address of a web server.
    """
    given = where.strip() or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI
    parts = _split(given)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    if _VERSION.search(path):
        paths: tuple[str, ...] = (path,)
    elif path:
        paths = (path, f"{path}/v1")
    else:
        paths = ("/v1", "")
    login = (parts.username or "", parts.password or "") if parts.username or parts.password else None
    host = _host_and_port(parts)
    return Address(tuple(urlunsplit((parts.scheme, host, one, "", "")) for one in paths), login)


def server_of(url: str) -> str:
    """Scheme, host and port of an address: what messages may show."""
    parts = _split(url)
    return f"{parts.scheme}://{_host_and_port(parts)}"


def is_loopback(url: str) -> bool:
    """True when the address is this machine by its very form: nothing is looked up, and what is doubtful is not."""
    try:
        host = (_split(url).hostname or "").lower()
    except UsageError:
        return False
    if host == "localhost":
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(number, "ipv4_mapped", None)
    return (mapped or number).is_loopback


def hosted_server(where: str) -> str | None:
    """The server behind a model's address (empty: as `address_of` takes that) when it is not this machine: what is sent
    there leaves it. None for this machine, and for a folder.

    Raises:
        UsageError: it is no address.
    """
    if where.startswith("file:"):
        return None
    url = address_of(where).urls[0]
    return None if is_loopback(url) else server_of(url)


def _split(url: str) -> SplitResult:
    """The parts of a web address; its message never holds the address, which may hold a password."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise UsageError("the server's address is not valid; give one as http://127.0.0.1:8000/v1") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("the server's address must begin with http:// or https:// and name a host")
    # A host that two parsers may read differently could pass for this machine and be another.
    if parts.query or parts.fragment or re.search(r"[\s\\\x00-\x1f\x7f]", url.strip()) or "%" in parts.hostname:
        raise UsageError("the server's address has parts that none should have; give one as http://127.0.0.1:8000/v1")
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return shown if parts.port is None else f"{shown}:{parts.port}"


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """About how many tokens requests would take."""

    tokens_in: int
    tokens_out: int

    def __add__(self, other: TokenEstimate) -> TokenEstimate:
        return TokenEstimate(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)


def estimate_tokens(
    num_requests: int, num_frames: int, *, short_side: int = 448, prompt_chars: int = 2000, max_tokens: int = 256
) -> TokenEstimate:
    """An upper estimate for `num_requests` with `num_frames` pictures in all.

    Args:
        short_side: of the pictures, pixels; they are taken as 16:9.
        prompt_chars: of the text of one request, rules and schema included.
        max_tokens: of one reply, each of which is taken as that long.
    """
    picture = round(short_side * short_side * 16 / 9 * _TOKENS_PER_PICTURE_PIXEL)
    text = -(-prompt_chars // _CHARS_PER_TOKEN)
    return TokenEstimate(num_requests * text + num_frames * picture, num_requests * max_tokens)


def cost_of(tokens: TokenEstimate, price_in: float, price_out: float) -> float:
    """What `tokens` cost at prices per million tokens, in the prices' currency."""
    return (tokens.tokens_in * price_in + tokens.tokens_out * price_out) / 1e6


def consent_text(  # noqa: PLR0917 - the caller's names say what is what
    host: str, num_requests: int, num_frames: int, tokens: TokenEstimate, price_in: float, price_out: float
) -> str:
    """What somebody must know before anything is sent to a hosted model: where to, how much, and about what cost.

    Args:
        host: as `server_of` gives it.
        num_frames: at most.
        price_in, price_out: per million tokens; both 0: not known.
    """
    what = f"at most {_counted(num_frames, 'frame')} of your videos" if num_frames else "text from your videos"
    amount = f"about {_rounded(tokens.tokens_in)} tokens in and up to {_rounded(tokens.tokens_out)} out"
    if price_in or price_out:
        cost = f"At the prices that are set, that costs about {cost_of(tokens, price_in, price_out):,.2f}."
    else:
        cost = "What that costs is not known: no price is set (run.price_in and run.price_out, per million tokens)."
    return f"This sends {what} to {host}, in {_counted(num_requests, 'request')}: {amount}. {cost}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _rounded(number: int) -> str:
    """Two leading digits, because no more of an estimate is true: 12,345 is 12,000."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return f"{round(number / unit) * unit:,}"

"""A model behind any server that speaks OpenAI's chat completions: vLLM, SGLang, Ollama, llama.cpp, hosted ones.

Requests run on an event loop of their own, so that decoding goes on meanwhile; how many at once is bounded, and each is
tried again while that can help. What the server takes (video, schemas) is found out by the first request and kept.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from fdvs.chat import retries
from fdvs.chat.background import BackgroundLoop
from fdvs.chat.base import NO_USAGE, ChatReply, ChatRequest, Finish, Usage
from fdvs.chat.dialects import (
    Dialect,
    Refusal,
    Uses,
    differences,
    first_dialect,
    is_plain,
    is_refusal,
    joined,
    learnt,
    proven,
    step,
)
from fdvs.chat.hosts import address_of, is_loopback, server_of
from fdvs.chat.payloads import body_of, has_video
from fdvs.chat.registry import Serving
from fdvs.chat.replies import Said, clean_of, code_in, error_in, failed, message_in, understood
from fdvs.chat.servers import list_models
from fdvs.chat.slots import open_slots
from fdvs.chat.transport import Connections, Heard, key_from_environment
from fdvs.errors import ServerError

_log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""How long other requests wait for the first one to find out what the server takes. A refusal comes at once; a reply
may take long, but then nothing was refused."""

_MAX_REFUSAL = 4000  # characters of a refusal in which to look for what is refused


class OpenAIChat:
    """See `fdvs.chat.base.ChatModel`. Made with the model's name, its server's address and how requests are sent.

    Raises:
        UsageError: the address or the key cannot be one.
        ServerError: the server does not answer, refuses the key, or stands on this machine and has no such model.
    """

    name = "openai"

    def __init__(self, model: str, where: str, serving: Serving) -> None:
        address, self._key = address_of(where), key_from_environment()
        self.model, self.in_flight, self._serving = model, serving.requests, serving
        self.server = server_of(address.urls[0])
        if self._key and self.server.startswith("http://") and not is_loopback(self.server):
            _log.warning("the key in OPENAI_API_KEY goes to %s unencrypted", self.server)
        listing, _ = list_models(address, self._key)
        if listing is not None:
            address = replace(address, urls=(listing.url,))
        self.context_tokens = 0 if listing is None else self._context_in(listing.context_tokens)
        self._urls = address.urls
        self._first = self._found = first_dialect(serving.frames_as)
        self._settled = self._asked = Uses(media=False, binding=False)
        self._finding: asyncio.Event | None = None
        self._chance = random.Random()  # noqa: S311 - only spreads retries
        self._slots = open_slots(serving.requests, serving.slots)
        self._connections = Connections(address, self._key, serving.timeout_s)
        self._loop = BackgroundLoop("fdvs-openai")

    def _context_in(self, known: Mapping[str, int]) -> int:
        """What the model can read. A wrong name would fail every request; but hosted servers know more names than they
        list, and Ollama's names have tags."""
        for name in (self.model, f"{self.model}:latest"):
            if name in known:
                return known[name]
        if is_loopback(self.server):
            raise ServerError(f"{self.server} has no model {self.model!r}; it has: {', '.join(known) or 'none'}")
        return 0

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What this server turned out not to take, in words for people; empty until a request has found out."""
        return tuple(differences(self._found, self._first))

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        """See `ChatModel.submit`."""
        future = self._loop.submit(lambda: self._reply(request))
        if future is None:
            future = Future()
            future.set_result(ChatReply("", Finish.FAILED, "the connection to the model is closed"))
        return future

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """See `ChatModel.chat`."""
        futures = [self.submit(request) for request in requests]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def close(self) -> None:
        """See `ChatModel.close`."""
        self._loop.close(self._let_go)

    async def _let_go(self) -> None:
        await self._connections.close()
        self._slots.close()

    # On the loop

    async def _reply(self, request: ChatRequest) -> ChatReply:
        """The job boundary: whatever goes wrong with one request stays its own."""
        try:
            return await self._ask(request)
        except Exception as error:  # noqa: BLE001
            _log.warning("a request to %s could not be made (%s)", self.server, type(error).__name__)
            return ChatReply("", Finish.FAILED, f"the request could not be made ({type(error).__name__})")

    async def _ask(self, request: ChatRequest) -> ChatReply:
        """Ask until there is an outcome that stands."""
        uses = Uses(media=has_video(request), binding=request.schema is not None)
        turn = await self._await_turn(uses)
        usage, retry = NO_USAGE, 0
        try:
            while True:
                heard, took = await self._find_out(request, uses)
                usage += took
                self._asked |= uses
                self._end_turn(turn)
                said = self._said(heard, request)
                usage += Usage(tokens_in=said.tokens_in, tokens_out=said.tokens_out)
                if not said.is_retryable or retry >= self._serving.retries:
                    usage = replace(usage, retries=max(usage.requests - 1, 0))
                    return ChatReply(
                        said.text, said.finish, said.reason, said.is_retryable, heard.is_unreachable, usage
                    )
                await asyncio.sleep(retries.delay_s(retry, retries.asked_s(heard.headers), self._chance))
                retry += 1
        finally:
            self._end_turn(turn)

    async def _find_out(self, request: ChatRequest, uses: Uses) -> tuple[Heard, Usage]:
        """Send a request, asking in lower and lower dialects as long as the server refuses what the last one had."""
        mine, usage = self._found, NO_USAGE
        while True:
            mine = joined(mine, self._found)
            heard, took = await self._attempt(request, mine)
            usage += took
            if heard.status == 200:
                self._learn(proven(self._found, mine, uses.without(self._settled)))
                self._settled |= uses
                return heard, usage
            lower = self._lower(heard, mine, uses)
            if lower is None:
                return heard, usage
            mine = lower

    async def _attempt(self, request: ChatRequest, dialect: Dialect) -> tuple[Heard, Usage]:
        """Send a request once, when there is a slot for it."""
        async with self._slots.slot():
            url = f"{self._urls[min(dialect.base, len(self._urls) - 1)]}/chat/completions"
            body = body_of(request, self.model, dialect)
            start = time.monotonic()
            heard = await self._connections.post(url, body)
            return heard, Usage(requests=1, images=request.num_pictures, seconds=time.monotonic() - start)

    def _lower(self, heard: Heard, mine: Dialect, uses: Uses) -> Dialect | None:
        """The dialect to ask in next, where `heard` refuses `mine` for something that others know better by now, or
        that can be asked otherwise."""
        if not is_refusal(heard.status):
            return None
        known = joined(mine, self._found)
        if known != mine:
            return known
        refusal = Refusal(heard.status, message_in(error_in(heard.body), _MAX_REFUSAL))
        guesses, bases = uses.without(self._settled), len(self._urls)
        lower = step(mine, refusal, uses, guesses=guesses, num_bases=bases, frames_as=self._serving.frames_as)
        if lower is not None and is_plain(refusal):
            self._learn(learnt(self._found, mine, lower))
        return lower

    def _learn(self, found: Dialect) -> None:
        """Keep what was found out, and say it when it is new."""
        news = set(differences(found, self._first)) - set(differences(self._found, self._first))
        self._found = found
        for one in sorted(news):
            _log.info("%s (%s): %s", self.model, self.server, one)

    def _said(self, heard: Heard, request: ChatRequest) -> Said:
        """The outcome of one attempt, in words without keys and without the request's text."""
        said = self._outcome(heard)
        if not said.reason:
            return said
        sent = "\n".join((request.system, *(part for part in request.parts if isinstance(part, str))))
        return replace(said, reason=clean_of(said.reason, self._key, sent))

    def _outcome(self, heard: Heard) -> Said:
        if heard.trouble:
            return failed(f"{self.server}: {heard.trouble}", is_retryable=not heard.is_final)
        if heard.status == 200:
            return understood(heard.body)
        data = error_in(heard.body)
        told = message_in(data)
        if 300 <= heard.status < 400:
            told = "it sends requests elsewhere, and a key must not follow; give the address it sends to"
        reason = f"{self.server} answered {heard.status}" + (f": {told}" if told else "")
        return failed(reason, is_retryable=retries.may_pass(heard.status, code_in(data)))

    async def _await_turn(self, uses: Uses) -> asyncio.Event | None:
        """Wait while another request finds out what this one needs to know; an event where this one is to do so."""
        while uses.without(self._asked):
            if self._finding is None:
                self._finding = asyncio.Event()
                return self._finding
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._finding.wait()
            except TimeoutError:
                break
        return None

    def _end_turn(self, turn: asyncio.Event | None) -> None:
        if turn is not None and self._finding is turn:
            self._finding = None
            turn.set()

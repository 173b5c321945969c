"""Messages between workers and the process that holds models."""

from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.facts import PictureFacts
from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.hosting import wire
from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, TimedPicture

PICTURES = st.lists(st.builds(TimedPicture, st.integers(0, 10**8), st.binary(max_size=40)), max_size=4).map(tuple)
REQUESTS = st.builds(
    ChatRequest,
    st.text(),
    st.lists(st.one_of(st.text(), st.builds(Frames, PICTURES)), max_size=4).map(tuple),
    st.one_of(st.none(), st.just({"type": "object"})),
    max_tokens=st.integers(1, 9999),
    temperature=st.floats(0, 2),
    seed=st.integers(0, 2**31),
)


@given(REQUESTS)
def test_requests_arrive_as_they_were_sent(request: ChatRequest) -> None:
    a, b = socket.socketpair()
    with a, b:
        sender = threading.Thread(target=lambda: wire.send(a, *wire.request_out(request)))
        sender.start()
        message = wire.receive(b)
        sender.join()
    assert message is not None
    assert wire.request_in(*message) == request


def test_replies_and_captions_arrive_as_they_were_sent() -> None:
    usage = Usage(2, 1, 300, 40, 8, 0.25)
    reply = ChatReply("", Finish.FAILED, "busy", True, False, usage)
    assert wire.reply_in(wire.reply_out(reply)) == reply
    caption = Caption(
        "cap-1", "clip-1", Span(0, 900), CaptionKind.OBJECTS, "", Outcome.REFUSED, "no", "grounding_dino", "hash"
    )
    made = ClipCaptions((caption,), usage)
    assert wire.captions_in(wire.captions_out(made)) == made


def test_clips_arrive_with_their_pictures_and_without_subtitles() -> None:
    pictures = (TimedPicture(0, b"abc"), TimedPicture(400, b""))
    clip = Clip("clip-1", "v", Span(0, 900), 0, (0, 400, 800))
    item = ClipInput(clip, PictureFacts(), (), pictures, (0, 400))
    data, blob = wire.clip_out(item)
    assert wire.clip_in(data, blob) == item


def test_an_end_in_the_middle_of_a_message_is_an_end() -> None:
    a, b = socket.socketpair()
    with b:
        a.sendall(b'\x00\x00\x00\x10\x00\x00\x00\x00{"half')
        a.close()
        assert wire.receive(b) is None

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.errors import BackendUnavailableError
from fdvs.screen_text.reader import TextReader
from tests.screen_text.pictures import drawn


@pytest.fixture(scope="module")
def offline() -> Any:
    """A reader made and used while every connection fails."""
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("nothing is fetched")

        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield TextReader()


def test_lines_are_read_with_place_and_score(offline: TextReader) -> None:
    lines = offline.read(drawn("What we measured", "Cost of one frame: 0.25 s"))
    assert [line.text for line in lines] == ["What we measured", "Cost of one frame: 0.25 s"]
    assert all(0.9 <= line.score <= 1 and line.score == round(line.score, 3) for line in lines)
    (left, top, right, bottom), below = lines[0].box, lines[1].box
    assert 30 <= left <= 70 < right < below[2] <= 1000
    assert 40 <= top < bottom <= below[1] + 10


def test_text_is_seen_in_a_reduced_picture_and_nothing_in_an_empty_one(offline: TextReader) -> None:
    assert len(offline.glance(drawn("What we measured", size=(480, 270)))) == 1
    assert offline.glance(drawn(size=(480, 270))) == ()
    assert offline.read(drawn()) == ()


def test_the_same_picture_is_read_the_same_after_others(offline: TextReader) -> None:
    first = offline.read(drawn("What we measured"))
    offline.glance(drawn("Cost"))
    assert offline.read(drawn("What we measured")) == first


def test_missing_models_are_said_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hollow = SimpleNamespace(__file__=str(tmp_path / "__init__.py"), __version__="9.9", RapidOCR=pytest.fail)
    monkeypatch.setitem(sys.modules, "rapidocr", hollow)
    with pytest.raises(BackendUnavailableError, match=r"rapidocr 9.9 came without PP-OCRv6_det_small.onnx"):
        TextReader()


def test_a_missing_package_names_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(BackendUnavailableError, match="pip install rapidocr, or use --screen-text off"):
        TextReader()

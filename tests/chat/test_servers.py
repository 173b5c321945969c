"""What servers say of themselves, and what people are told when they do not."""

from __future__ import annotations

import socket
import ssl

import pytest

from fdvs.chat.hosts import address_of
from fdvs.chat.openai import OpenAIChat
from fdvs.chat.registry import Serving
from fdvs.chat.servers import server_models
from fdvs.chat.transport import client_options
from fdvs.errors import ServerError
from tests.chat.fake_server import FakeServer


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def context_of(where: str, model: str = "fake") -> int:
    chat = OpenAIChat(model, where, Serving())
    chat.close()
    return chat.context_tokens


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_models_are_listed_by_name() -> None:
    with FakeServer(models=("eye", "pen")) as server:
        assert server_models(server.url) == ["eye", "pen"]
        assert server_models(server.url.removesuffix("/v1")) == ["eye", "pen"]


def test_the_environment_says_where_when_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert server_models("") == ["fake"]


def test_a_server_that_is_not_there_is_named_with_what_to_do(unused_port: int) -> None:
    where = f"http://127.0.0.1:{unused_port}"
    with pytest.raises(ServerError, match=f"no server answers at {where} .*fdvs serve") as caught:
        server_models(where)
    assert caught.value.retryable
    with pytest.raises(ServerError, match=where):
        OpenAIChat("fake", where, Serving())


def test_certificates_are_checked_and_tls_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("https://127.0.0.1/v1", "https://example.com/v1", "http://127.0.0.1/v1"):
        context = client_options(address_of(where), "")["verify"]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert bool(context.get_ca_certs()) == where.startswith("https")
    monkeypatch.setattr("fdvs.chat.servers._TIMEOUT_S", 0.2)
    with FakeServer() as server, pytest.raises(ServerError, match="no server answers at https:"):
        server_models(server.url.replace("http://", "https://"))
    assert server.others == []


def test_a_server_that_wants_a_key_says_so_and_one_with_a_wrong_key_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeServer(api_key="right") as server:
        with pytest.raises(ServerError, match="wants a key: set OPENAI_API_KEY"):
            server_models(server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "hunter2-wrong")
        with pytest.raises(ServerError, match="refuses the key in OPENAI_API_KEY") as caught:
            OpenAIChat("fake", server.url, Serving())
        assert "hunter2" not in str(caught.value)
        monkeypatch.setenv("OPENAI_API_KEY", " right\n")
        assert server_models(server.url) == ["fake"]


@pytest.mark.parametrize(
    "listing",
    [{"detail": "Not Found"}, [], "x", {"data": "x"}, b"<html>A page</html>", b"", b'{"data": [' * 50_000],
    ids=["no data", "list", "text", "data is text", "web page", "empty", "deep"],
)
def test_what_is_no_listing_is_said_to_be_none(listing: object) -> None:
    with FakeServer(listing=listing) as server, pytest.raises(ServerError, match="does not list its models"):
        server_models(server.url)


def test_a_server_that_lists_nothing_can_still_be_asked() -> None:
    with FakeServer(listing=b"<html>") as server:
        assert context_of(server.url) == 0


@pytest.mark.parametrize(
    ("rows", "names"),
    [(None, []), ([{"id": "a"}, {"id": 7}, "x", {"name": "b"}], ["a"]), ([{"id": "evil\x1b[31m\n"}], ["evil [31m"])],
)
def test_a_listing_is_read_with_care(rows: object, names: list[str]) -> None:
    with FakeServer(listing={"data": rows}) as server:
        assert server_models(server.url) == names


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 8192}, 8192),
        ({"context_window": 1024, "max_model_len": None}, 1024),
        ({"max_model_len": "4096"}, 0),
        ({"max_model_len": -1}, 0),
        ({}, 0),
    ],
)
def test_how_much_a_model_can_read_is_known_where_the_server_says_it(told: dict[str, object], tokens: int) -> None:
    with FakeServer(listing={"data": [{"id": "other", "max_model_len": 7}, {"id": "fake", **told}]}) as server:
        assert context_of(server.url) == tokens


def test_a_local_server_without_the_model_says_which_it_has() -> None:
    with (
        FakeServer(models=("eye", "pen")) as server,
        pytest.raises(ServerError, match="no model 'ear'; it has: eye, pen"),
    ):
        OpenAIChat("ear", server.url, Serving())


def test_a_name_without_a_tag_means_the_latest() -> None:
    with FakeServer(models=("eye:latest",), max_model_len=512) as server:
        assert context_of(server.url, "eye") == 512

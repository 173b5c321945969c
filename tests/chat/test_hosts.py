"""Where a server stands: addresses as people write them, what is this machine, and what consent is asked for."""

from __future__ import annotations

import pytest

from fdvs.chat.hosts import (
    TokenEstimate,
    address_of,
    consent_text,
    cost_of,
    estimate_tokens,
    hosted_server,
    is_loopback,
    server_of,
)
from fdvs.errors import UsageError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "http://LOCALHOST",
        "http://127.0.0.1:8000",
        "https://127.9.8.7/v1",
        "http://[::1]:8000/v1",
        "http://[::ffff:127.0.0.1]/v1",
    ],
)
def test_this_machine_is_known_by_its_address(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost.evil.com/v1",
        "http://evil.com/localhost",
        "http://localhost@evil.com/v1",
        "http://evil.com\\@localhost/v1",
        "http://evil.com#@localhost",
        "http://127.0.0.1.evil.com",
        "http://127.0.0.1%2eevil.com",
        "http://10.0.0.5:8000",
        "http://0.0.0.0:8000",
        "http://2130706433",
        "http://[fe80::1]",
        "https://api.openai.com/v1",
        "file:///models/x",
        "localhost:8000",
        "",
    ],
)
def test_whatever_may_be_another_machine_is_not_this_one(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize(
    ("where", "urls"),
    [
        ("http://host:8000/v1", ["http://host:8000/v1"]),
        ("http://host:8000/v1/", ["http://host:8000/v1"]),
        ("http://host:8000/v1/chat/completions", ["http://host:8000/v1"]),
        ("http://host:8000", ["http://host:8000/v1", "http://host:8000"]),
        ("http://host:8000/", ["http://host:8000/v1", "http://host:8000"]),
        ("https://host/openai", ["https://host/openai", "https://host/openai/v1"]),
        ("https://host/v1beta", ["https://host/v1beta"]),
        ("http://[::1]:8000/v1", ["http://[::1]:8000/v1"]),
    ],
)
def test_an_address_without_v1_is_tried_with_and_without(where: str, urls: list[str]) -> None:
    assert list(address_of(where).urls) == urls


def test_without_an_address_the_environment_and_then_openai_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address_of("").urls == ("https://api.openai.com/v1",)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.1.2.3:9000/v1")
    assert address_of("  ").urls == ("http://10.1.2.3:9000/v1",)
    assert address_of("http://other/v1").urls == ("http://other/v1",)


def test_what_leaves_this_machine_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hosted_server("") == "https://api.openai.com"
    assert hosted_server("http://anna:s3cret@10.0.0.5:8000") == "http://10.0.0.5:8000"
    assert hosted_server("http://localhost:8000") is None
    assert hosted_server("file:/models/eye") is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert hosted_server("") is None


def test_name_and_password_of_an_address_are_kept_apart_from_what_is_shown() -> None:
    address = address_of("https://anna:s3cret@host:8443/v1")
    assert address.urls == ("https://host:8443/v1",)
    assert address.login == ("anna", "s3cret")
    assert server_of("https://anna:s3cret@host:8443/v1") == "https://host:8443"


@pytest.mark.parametrize(
    "where",
    [
        "host:8000",
        "ftp://u:s3cret@host/v1",
        "http://",
        "http://host:s3cret/v1",
        "http://host/v1?key=s3cret",
        "http://ho st/",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(where: str) -> None:
    with pytest.raises(UsageError) as caught:
        address_of(where)
    assert "s3cret" not in str(caught.value)
    assert "http" in str(caught.value)


def test_consent_names_host_frames_requests_tokens_and_cost() -> None:
    text = consent_text("https://api.example.com", 150, 1200, TokenEstimate(1_234_567, 38_400), 0.5, 2.0)
    assert text == (
        "This sends at most 1,200 frames of your videos to https://api.example.com, in 150 requests: about 1,200,000 "
        "tokens in and up to 38,000 out. At the prices that are set, that costs about 0.69."
    )


def test_consent_says_plainly_when_the_price_is_not_known() -> None:
    text = consent_text("https://api.example.com", 1, 0, TokenEstimate(500, 256), 0.0, 0.0)
    assert text.startswith(
        "This sends text from your videos to https://api.example.com, in 1 request: about 500 tokens"
    )
    assert "What that costs is not known" in text


def test_tokens_grow_with_pictures_their_size_and_requests() -> None:
    one = estimate_tokens(1, 8, short_side=448, prompt_chars=2000, max_tokens=256)
    assert one == TokenEstimate(500 + 8 * 455, 256)
    assert estimate_tokens(10, 80).tokens_in == 10 * one.tokens_in
    assert estimate_tokens(1, 8, short_side=224).tokens_in < one.tokens_in
    assert one + one == TokenEstimate(2 * one.tokens_in, 512)
    assert cost_of(TokenEstimate(2_000_000, 500_000), 0.15, 0.6) == pytest.approx(0.6)

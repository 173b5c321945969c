"""Nothing goes to another machine before somebody agreed, for that library and that host."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.chat.hosts import is_loopback
from fdvs.errors import ConsentError, UsageError
from fdvs.models.consent import build_hosts, hosted, needs_consent, obtain_consent
from fdvs.settings import load_settings
from fdvs.store.library import Store
from tests.cli.commands import done, fdvs

AWAY = "https://models.example.com/v1"
HOST = "https://models.example.com"


def tell(host: str) -> str:
    return f"This sends 40 pictures to {host}."


def never(text: str) -> bool:
    raise AssertionError(f"asked again: {text}")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:80/v1", "http://127.5.5.5", "http://LOCALHOST"],
)
def test_addresses_of_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        AWAY,
        "http://localhost.example.com/v1",
        "http://127.0.0.1@example.com/v1",
        "http://192.168.1.2/v1",
        "http://0.0.0.0.example.com",
        "http://[not-an-address/v1",
        "",
    ],
)
def test_addresses_elsewhere(url: str) -> None:
    assert not is_loopback(url)


def test_a_host_is_told_without_user_and_key() -> None:
    assert hosted(("openai", "https://user:secret@models.example.com:8443/v1")) == ("https://models.example.com:8443",)
    with pytest.raises(UsageError) as wrong:
        hosted(("openai", "https://user:secret@models.example.com/v1?key=secret"))
    assert "secret" not in str(wrong.value)


def test_a_build_names_each_host_elsewhere_once() -> None:
    def hosts(**flags: str) -> tuple[str, ...]:
        captions = {key: value for key, value in flags.items() if key.startswith("captioner")}
        story = {key: value for key, value in flags.items() if key.startswith("writer")}
        return build_hosts(load_settings(flags={"captions": captions, "story": story}, environ={}))

    assert hosts() == ()
    assert hosts(captioner_url=AWAY) == (), "the built-in captioner asks no server"
    assert hosts(captioner="openai", captioner_url="http://127.0.0.1:8000/v1") == ()
    assert hosts(captioner="openai", captioner_url=AWAY, writer="openai", writer_url=AWAY) == (HOST,)
    assert hosts(captioner="vllm", captioner_url="file:/models/a", writer="openai", writer_url=AWAY) == (HOST,)
    assert hosted(("openai", AWAY), ("openai", "http://10.0.0.1/v1")) == (HOST, "http://10.0.0.1")


def test_agreement_is_remembered_for_one_library_and_one_host(tmp_path: Path) -> None:
    asked: list[str] = []

    def agree(text: str) -> bool:
        asked.append(text)
        return True

    with Store.open(tmp_path / "one", create=True) as store:
        assert obtain_consent([HOST], store, tell, ask=agree) == (HOST,)
        assert asked == [tell(HOST)]
    with Store.open(tmp_path / "one", create=False) as store:
        assert store.agreed_hosts() == (HOST,)
        assert obtain_consent([HOST], store, tell, ask=never) == ()
        assert needs_consent([HOST, "other.example.com"], store) == ("other.example.com",)
    with Store.open(tmp_path / "two", create=True) as store:
        assert needs_consent([HOST], store) == (HOST,)


def test_who_does_not_agree_is_told_that_nothing_was_sent() -> None:
    with Store.in_memory() as store:
        with pytest.raises(ConsentError, match="nothing was sent") as refused:
            obtain_consent([HOST], store, tell, ask=lambda text: False)
        assert refused.value.exit_code == 2
        with pytest.raises(ConsentError, match="--yes") as nobody:
            obtain_consent([HOST], store, tell)
        assert HOST in str(nobody.value)
        assert tell(HOST) in str(nobody.value)
        assert store.agreed_hosts() == ()


def test_agreement_ahead_is_not_remembered() -> None:
    with Store.in_memory() as store:
        assert obtain_consent([HOST], store, tell, allow_hosted=True, ask=never) == ()
        assert store.agreed_hosts() == ()


def test_a_library_that_is_not_there_yet_gets_the_hosts_from_its_caller() -> None:
    assert obtain_consent([HOST], None, tell, ask=lambda text: True) == (HOST,)
    assert obtain_consent([], None, tell) == ()


def test_several_hosts_are_remembered_in_order() -> None:
    with Store.in_memory() as store:
        for host in ("b.example.com", "a.example.com", "b.example.com"):
            store.agree_to_host(host)
        assert store.agreed_hosts() == ("a.example.com", "b.example.com")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "walk.srt").write_text("1\n00:00:00,000 --> 00:00:04,000\nA dog runs along the beach.\n")
    done("import", tmp_path / "walk.srt", "-L", tmp_path / "library")
    return tmp_path / "library"


def test_a_question_goes_to_no_host_without_leave(library: Path) -> None:
    ended = fdvs("ask", "Who runs?", "--reader", "openai", "--reader-model", "m", "--reader-url", AWAY, "-L", library)
    assert ended.code == 2
    assert f"text from your videos to {HOST}, in 1 request: about 4,000 tokens in" in ended.err
    assert "nothing was sent" in ended.err
    assert "--yes" in ended.err


def test_a_reader_on_this_machine_needs_no_leave(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.api.obtain_consent", lambda hosts, *arguments, **more: [pytest.fail(x) for x in hosts])
    assert "dog" in done("ask", "What runs along the beach?", "--reader", "auto", "-L", library).out
    assert "dog" in done("ask", "What runs along the beach?", "-L", library).out


def test_auto_says_who_answers(library: Path) -> None:
    assert "reader auto: builtin" in done("ask", "What runs along the beach?", "--reader", "auto", "-L", library).err

"""Builds whose captions and stories a model writes: a scripted server, killed builds, retries, what it all took."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs import Library
from fdvs.batch.report import BuildReport
from fdvs.demo.film import DemoFilm
from fdvs.errors import ConsentError, ServerError
from fdvs.records import Caption, CaptionKind, Outcome
from tests.batch.commands import Running, fdvs, render_film, wait_until
from tests.chat.fake_server import ALL, SCRIPTS, FakeServer, Reply, Seen
from tests.conftest import Once

# Short films with many clips; no text is read on the screen, where there is none.
SETTINGS = ("clips.min_clip_s=1", "captions.screen_text=off")
FAST_RETRIES = ("run.request_retries=1", "run.request_timeout_s=2")
_FROM = re.compile(r"from ([\d.]+) s")
_NUMBERED = re.compile(r"^\[(\d+)\]", re.MULTILINE)


def start_of(request: Seen) -> str:
    """The time of a caption request's first frame: one for each clip of a film."""
    found = _FROM.search(request.text)
    assert found, request.text
    return found[1]


def is_caption(request: Seen) -> bool:
    return "response_format" not in request.body


def model(request: Seen) -> Any:
    """What a model might say: of every clip something of its own, of every node a sentence from its first line."""
    if is_caption(request):
        return f"At {start_of(request)} seconds a card shows pattern {request.number} in black and white."
    first = int(_NUMBERED.findall(request.text)[0])
    named = "in short" if "title" in json.dumps(request.body) else "in full"
    return {
        "title": f"Cards {named}",
        "sentences": [{"text": f"Cards with patterns are shown, part {request.number}.", "sources": [first]}],
        "names": [],
        "answer": "Cards are shown.",
        "cited": [first],
        "supported": True,
    }


@pytest.fixture(scope="session")
def film(once: Once) -> Path:
    """A film of 16 seconds; with `SETTINGS` it has about a dozen clips."""

    def make(folder: Path) -> None:
        render_film(folder / "cards.mp4", 0, seconds=16, size=(160, 96))

    return once("model-film", make) / "cards.mp4"


class Built:
    """A library that is built with a server's model, again and again."""

    def __init__(self, folder: Path, film: Path, server: FakeServer, *more: str, writer: bool = False) -> None:
        self.folder, self.film, self.server = folder, film, server
        self.assignments = [
            *SETTINGS,
            *FAST_RETRIES,
            "captions.captioner=openai",
            f"captions.captioner_url={server.url}",
            *(["story.writer=openai", f"story.writer_url={server.url}"] if writer else []),
            *more,
        ]
        self.decoded = 0

    def build(self, *more: str, retry_failed: bool = False) -> BuildReport:
        self.decoded = 0

        def note(_job: int, _jobs: int, _name: str, event: Any) -> None:
            self.decoded += event.clips_decoded

        with Library(self.folder, assignments=[*self.assignments, *more]) as library:
            return library.build([self.film], retry_failed=retry_failed, on_event=note)

    def captions(self) -> tuple[Caption, ...]:
        """Those of what is seen, in time order."""
        with Library(self.folder, create=False) as library:
            captions = library.story(self.film.name).record.captions
        return tuple(caption for caption in captions if caption.kind is CaptionKind.VISUAL)

    def exported(self) -> str:
        with Library(self.folder, create=False) as library:
            return library.story(self.film.name).render("json")


# ---------------------------------------------------------------------------------------------------------------------
# Once each


def test_every_clip_is_asked_about_once_and_never_again(film: Path, tmp_path: Path) -> None:
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", film, server, writer=True)
        report = built.build()
        assert report.exit_code == 0, report.rows
        captions = built.captions()
        asked = [start_of(request) for request in server.requests if is_caption(request)]
        assert len(asked) == len(set(asked)) == len(captions) > 6
        assert all(caption.text.startswith("At ") and caption.outcome is Outcome.OK for caption in captions)
        for caption in captions:
            assert f"At {caption.span.start_s:.1f} seconds" in caption.text

        with Library(built.folder, create=False) as library:
            nodes = library.story(film.name).record.nodes
        assert {node.writer for node in nodes if node.children} == {"openai:fake"}
        before = len(server.requests)
        again = built.build()
        assert (again.exit_code, again.skipped, len(server.requests)) == (0, 1, before)


def test_settings_name_the_model_and_not_the_server(film: Path, tmp_path: Path) -> None:
    with FakeServer(model, models=("Owner/Eyes-1B",)) as server:
        built = Built(tmp_path / "library", film, server)
        built.build()
        exported = json.loads(built.exported())
    assert exported["settings"]["captions"]["captioner_model"] == "Owner/Eyes-1B"
    assert "127.0.0.1" not in built.exported()


def test_another_limit_asks_again_and_decodes_nothing(film: Path, tmp_path: Path) -> None:
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", film, server)
        built.build()
        num_clips = built.decoded
        assert num_clips == len(server.requests)
        built.build("captions.max_tokens=99")
        assert (built.decoded, len(server.requests)) == (0, 2 * num_clips)
        first, second = server.requests[0], next(r for r in server.requests[num_clips:] if start_of(r) == "0.0")
        assert first.parts == second.parts or start_of(first) != "0.0"

        shutil.rmtree(built.folder / "frames")  # derived: without it the clips are decoded again, to the same pictures
        built.build("captions.max_tokens=98")
        third = [r for r in server.requests[2 * num_clips :] if start_of(r) == "0.0"]
        assert [request.parts for request in third] == [second.parts]
        assert len(server.requests) == 3 * num_clips


def test_new_subtitles_leave_what_a_model_saw_alone(film: Path, tmp_path: Path) -> None:
    own = tmp_path / "film" / film.name
    own.parent.mkdir()
    shutil.copy(film, own)
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", own, server)
        built.build()
        before, seen = len(server.requests), [c.text for c in built.captions()]
        own.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nHello there.\n")
        built.build()
        assert len(server.requests) == before
        assert [c.text for c in built.captions()] == seen
        assert "Hello there." in built.exported()


# ---------------------------------------------------------------------------------------------------------------------
# Outcomes


def once_bad(bad: Reply) -> Callable[[Seen], Reply | None]:
    """The clips that begin between 4 and 8 seconds get `bad`, the first time they are asked about."""
    met: set[str] = set()

    def script(request: Seen) -> Reply | None:
        if not is_caption(request) or not 4 <= float(start_of(request)) < 8 or start_of(request) in met:
            return None
        met.add(start_of(request))
        return bad

    return script


@pytest.mark.parametrize(
    ("name", "outcome", "told"),
    [
        ("refusing", Outcome.REFUSED, "refused"),
        ("filtered", Outcome.REFUSED, "filter"),
        ("cut", Outcome.TRUNCATED, "cut"),
        ("empty", Outcome.FAILED, "empty"),
        ("only-thought", Outcome.FAILED, "thought"),
        ("over-long", Outcome.FAILED, "long"),
    ],
)
def test_what_went_wrong_is_recorded_warned_of_and_only_that_is_redone(
    name: str, outcome: Outcome, told: str, film: Path, tmp_path: Path
) -> None:
    bad = SCRIPTS[name](Seen(0, "", "", {}, {}))
    assert bad is not None
    with FakeServer(model, script=once_bad(bad)) as server:
        built = Built(tmp_path / "library", film, server)
        report = built.build()
        (row,) = report.rows
        assert (report.exit_code, row.state) == (0, "done")
        wrong = [c for c in built.captions() if c.outcome is not Outcome.OK]
        assert wrong
        assert {c.outcome for c in wrong} == {outcome}
        assert all(4 <= c.span.start_s < 8 for c in wrong)
        assert all((not c.text) == (outcome is not Outcome.TRUNCATED) for c in wrong)
        assert told in wrong[0].reason
        (warning,) = row.warnings
        assert str(len(wrong)) in warning
        assert "--retry-failed" in warning

        right = {c.id: c.text for c in built.captions() if c.outcome is Outcome.OK}
        before = len(server.requests)
        assert built.build().skipped == 1  # without the option nothing is tried again
        assert len(server.requests) == before
        again = built.build(retry_failed=True)
        assert (again.exit_code, again.rows[0].warnings) == (0, ())
        assert sorted(start_of(r) for r in server.requests[before:]) == sorted(f"{c.span.start_s:.1f}" for c in wrong)
        after = built.captions()
        assert all(c.outcome is Outcome.OK for c in after)
        assert right.items() <= {c.id: c.text for c in after}.items()
        assert built.build(retry_failed=True).skipped == 1


def test_trouble_that_passes_costs_nothing_but_time(film: Path, tmp_path: Path) -> None:
    with FakeServer(model, script=SCRIPTS["flaky"]) as server:
        built = Built(tmp_path / "library", film, server, "run.request_retries=6")
        report = built.build()
        assert report.exit_code == 0
        assert all(caption.outcome is Outcome.OK for caption in built.captions())
        assert report.usage is not None
        assert report.usage["retries"] == len(server.requests) - len(built.captions()) > 0


def test_hostile_text_is_stored_as_harmless_text(film: Path, tmp_path: Path) -> None:
    with FakeServer(model, script=SCRIPTS["hostile"]) as server:
        built = Built(tmp_path / "library", film, server)
        assert built.build().exit_code == 0
        for caption in built.captions():
            assert not set(caption.text) & set("\x1b\x00\u202e")
            assert "<|" not in caption.text


def test_the_same_words_on_different_pictures_are_flagged(demo: DemoFilm, tmp_path: Path) -> None:
    film = demo.path
    with FakeServer(lambda _: "A person talks to the camera.") as server:
        built = Built(tmp_path / "library", film, server)
        (row,) = built.build().rows
        flagged = [c for c in built.captions() if c.reason]
        assert len(flagged) == len(built.captions())
        assert flagged[0].outcome is Outcome.OK
        assert flagged[0].text == "A person talks to the camera."
        assert any("say the same of different pictures" in warning for warning in row.warnings)
        server.answer = model
        assert not built.build(retry_failed=True).rows[0].warnings
        assert all(not c.reason for c in built.captions())


# ---------------------------------------------------------------------------------------------------------------------
# Servers that go, builds that are killed


def test_a_server_that_is_not_there_is_said_before_anything_is_begun(film: Path, tmp_path: Path) -> None:
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", film, server, "captions.captioner_model=fake")
    with pytest.raises(ServerError, match=r"127\.0\.0\.1"):
        built.build()


def test_a_server_that_goes_ends_the_video_and_keeps_what_was_answered(film: Path, tmp_path: Path) -> None:
    def script(request: Seen) -> Reply | None:
        if request.number < 4:
            return None
        server.stop()
        return Reply(drop=True)

    with FakeServer(model, script=script) as server:
        built = Built(tmp_path / "library", film, server, "run.requests=1")
        report = built.build()
        (row,) = report.rows
        assert (report.exit_code, row.state, row.code) == (1, "failed", "crashed")
        assert "no connection" in row.message
    answered = {start_of(request) for request in server.requests[:4]}
    with FakeServer(model, port=server.port) as again:
        assert built.build(retry_failed=True).exit_code == 0
        asked = {start_of(request) for request in again.requests}
    assert asked
    assert not answered & asked
    assert all(caption.outcome is Outcome.OK for caption in built.captions())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_build_asks_only_for_what_was_not_answered(
    number: signal.Signals, film: Path, tmp_path: Path
) -> None:
    def steady(request: Seen) -> Any:  # the same of each clip, whenever it is asked about
        return f"At {start_of(request)} seconds a card shows a pattern." if is_caption(request) else model(request)

    def script(request: Seen) -> Reply | None:
        return Reply(forever=True) if request.number >= 5 else None

    with FakeServer(steady, script=script) as server:
        library = tmp_path / "library"
        arguments: list[str | Path] = ["build", film, "-L", library]
        arguments += [a for s in SETTINGS for a in ("--set", s)]
        arguments += ["--captioner", "openai", "--captioner-url", server.url, "--requests", "4"]
        with Running(*arguments) as running:
            assert wait_until(lambda: stored_captions(library) == 5, unless=lambda: not running.runs)
            running.signal_group(number)
            ended = running.wait()
            assert ended.code in {-9, 143, 130}
        answered = {start_of(request) for request in server.requests[:5]}
        before = len(server.requests)
        server.script = SCRIPTS["usual"]
        assert fdvs(*arguments).code == 0
        asked = [start_of(request) for request in server.requests[before:]]
        assert asked
        assert not answered & set(asked)
        assert len(asked) == len(set(asked))

        whole = tmp_path / "uninterrupted"
        arguments[3] = whole
        assert fdvs(*arguments).code == 0
    outputs = [Built(folder, film, server).exported() for folder in (library, whole)]
    assert outputs[0] == outputs[1]


def stored_captions(library: Path) -> int:
    """Clips with captions that are stored now."""
    path = library / "library.sqlite"
    if not path.exists():
        return 0
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM captioned").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


# ---------------------------------------------------------------------------------------------------------------------
# At once


def test_requests_in_flight_are_bounded_over_all_videos_and_fill_the_server(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(3):
        render_film(films / f"{number}.mp4", number, seconds=12, size=(160, 96))
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", films, server, "run.requests=5", "run.jobs=2")
        server.hold()
        with Running("build", films, "-L", built.folder, *(a for s in built.assignments for a in ("--set", s))) as run:
            assert server.wait_until(lambda one: one.open == 5, 60)
            server.release()
            assert run.wait().code == 0
        assert server.peak == 5


def test_what_a_server_does_not_take_is_said_once(demo: DemoFilm, tmp_path: Path) -> None:
    films = Path(shutil.copytree(demo.path.parent, tmp_path / "films"))
    shutil.copy(films / "a_day_at_the_lake.mp4", films / "again.mp4")
    (films / "again.mp4").write_bytes((films / "again.mp4").read_bytes() + b"\0" * 64)  # another video
    with FakeServer(model, takes=ALL - {"video"}) as server:
        built = Built(tmp_path / "library", films, server)
        notes: list[str] = []
        with Library(built.folder, assignments=built.assignments) as library:
            report = library.build([films], on_note=notes.append)
        assert report.done == 2
        (line,) = notes
        assert "video" in line
        # Each worker finds it out by one request of its own.
        assert sum("video_url" in request.kinds for request in server.requests) <= 2 * 2
        as_pictures = sum("image_url" in request.kinds for request in server.requests)
        assert as_pictures >= sum(row.clips_done for row in report.rows)


def test_while_a_video_waits_for_its_model_the_next_one_is_decoded(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(2):
        render_film(films / f"{number}.mp4", number, seconds=4, size=(160, 96))
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", films, server, "run.jobs=1", "clips.min_clip_s=2")
        server.hold()
        with Running("build", films, "-L", built.folder, *(a for s in built.assignments for a in ("--set", s))) as run:
            # Both films begin with their own first picture; nothing of the first one has been answered by then.
            assert server.wait_until(lambda one: sum(start_of(r) == "0.0" for r in one.requests) == 2, 60)
            assert server.answered == 0
            server.release()
            assert run.wait().code == 0


# ---------------------------------------------------------------------------------------------------------------------
# What it took, and who agreed


def test_what_a_build_took_is_what_the_server_counted(film: Path, tmp_path: Path) -> None:
    with FakeServer(model) as server:
        built = Built(tmp_path / "library", film, server, "run.price_in=2", "run.price_out=4", writer=True)
        report = built.build()
        assert report.usage is not None
        captions = [request for request in server.requests if is_caption(request)]
        told = report.usage
        assert told["requests"] == len(server.requests)
        assert told["retries"] == 0
        pictures = sum(part["type"] == "image_url" for request in captions for part in request.parts)
        frames = sum(
            len(part["video_url"]["url"].split(",")) - 1 for r in captions for part in r.parts if "video_url" in part
        )
        assert told["images"] == pictures + frames > 0
        assert told["cost"] == pytest.approx((2 * told["tokens_in"] + 4 * told["tokens_out"]) / 1e6)
        (video,) = told["videos"]
        assert set(video["stages"]) == {"frames", "captions", "story"}
        assert video["stages"]["captions"]["requests"] == len(captions)
        assert video["stages"]["story"]["requests"] == len(server.requests) - len(captions)
        assert report.to_json()["summary"]["usage"] == told

        with Library(built.folder, create=False) as library:
            (stored,) = library.costs()
        assert stored.usage.requests == len(server.requests)
        assert "seconds" not in json.dumps(json.loads(built.exported())["settings"])
        assert built.build().usage is None  # nothing was asked


def test_the_built_in_captioner_costs_nothing_and_says_nothing_of_it(film: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", assignments=SETTINGS) as library:
        report = library.build([film])
        assert library.costs() == []
    assert report.usage is None
    assert "usage" not in report.to_json()["summary"]


def test_nothing_goes_to_a_server_elsewhere_before_somebody_agrees(film: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def no(text: str) -> bool:
        asked.append(text)
        return False

    assignments = [
        *SETTINGS,
        "captions.captioner=openai",
        "captions.captioner_url=https://models.invalid/v1",
        "captions.captioner_model=eyes",
    ]
    with Library(tmp_path / "library", assignments=assignments) as library:
        with pytest.raises(ConsentError, match="nothing was sent"):
            library.build([film])
        with pytest.raises(ConsentError):
            library.build([film], on_consent=no)
    (text,) = asked
    assert "https://models.invalid" in text
    assert re.search(r"at most \d+ frames", text)
    assert "no price is set" in text

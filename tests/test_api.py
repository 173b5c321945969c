"""`fdvs.Library` does what the commands do; `fdvs.Story` works from an exported file alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import fdvs
from fdvs.batch.jobs import Event
from fdvs.errors import AmbiguousError, InputError, NotFoundError, StoreError, UsageError
from fdvs.records import Level, State
from fdvs.settings import Settings
from tests.cli.commands import FILM, STORY_SCHEMA, TALK, TWIN, done
from tests.cli.conftest import World, own_films, own_library, world

__all__ = ["own_films", "own_library", "world"]  # fixtures


def test_building_reports_rows_and_events(world: World, tmp_path: Path) -> None:
    seen: list[tuple[int, str, str]] = []

    def on_event(index: int, total: int, name: str, event: Event) -> None:
        assert 0 <= index < total == 2
        seen.append((index, name, event.kind))

    with fdvs.Library(tmp_path / "library", settings=Settings()) as library:
        assert not (tmp_path / "library").exists()
        report = library.build([world.films / "one", str(world.films / FILM)], on_event=on_event)
        assert (report.done, report.failed, report.skipped, report.exit_code) == (2, 0, 0, 0)
        assert {name for _, name, kind in seen if kind == "done"} == {FILM, TWIN}
        assert [row.state for row in library.status()] == [State.DONE, State.DONE]
        assert library.build([world.films / "one"]).skipped == 1


def test_what_the_commands_print_is_what_the_library_returns(world: World) -> None:
    where = ("-L", world.library)
    with fdvs.Library(world.library, create=False) as library:
        assert done("status", "--json", *where).json["videos"] == [row.to_json() for row in library.status()]
        assert done("story", FILM, *where).out == library.story(FILM).render("tree")
        hits = [hit.to_json() for hit in library.search("night", k=3, level="clip", video=FILM)]
        assert done("search", "night", "-k", "3", "--level", "clip", "--video", FILM, "--json", *where).json == {
            "query": "night",
            "hits": hits,
        }
        assert hits
        question = "What hangs above the sofa?"
        answer = library.ask(question, options=["a clock", "a lamp"], k=2).to_json()
        flags = ("--option", "a clock", "--option", "a lamp", "-k", "2", "--json")
        assert done("ask", question, *flags, *where).json == answer
        assert done("redundancy", FILM, "--json", *where).json == library.redundancy(FILM).to_json()
        assert done("redundancy", "--all", "--json", *where).json == library.redundancy().to_json()


def test_stories_are_exported(world: World, tmp_path: Path) -> None:
    with fdvs.Library(world.library, create=False) as library:
        written = library.export(FILM, output=tmp_path / "deep" / "lake.json")
        assert written == tmp_path / "deep" / "lake.json"
        STORY_SCHEMA.validate(json.loads(written.read_text()))
        every = library.export_all(form="md", folder=tmp_path / "all")
        assert sorted(every) == sorted((tmp_path / "all").iterdir())
        assert len(every) == 4
        with pytest.raises(InputError, match="unknown format 'pdf'; known: json, md, tree"):
            library.export(FILM, form="pdf", output=tmp_path / "lake.pdf")
        assert not (tmp_path / "lake.pdf").exists()


def test_a_library_can_be_changed(world: World, own_library: Path, tmp_path: Path) -> None:
    added = tmp_path / "vlm.jsonl"
    added.write_text(json.dumps({"video": "x", "start_s": 5, "end_s": 9, "text": "A crimson sphere."}) + "\n")
    with fdvs.Library(own_library, create=False) as library:
        assert library.import_captions([added], video=FILM).exit_code == 0
        assert "A crimson sphere." in library.story(FILM).render("json")
        assert library.forget(TALK) == TALK
        assert [video.name for video in library.videos()] == [FILM, TWIN, TWIN]
        with pytest.raises(NotFoundError):
            library.forget(TALK)
        assert library.import_captions([world.talk, tmp_path / "gone.srt"]).exit_code == 3
        assert TALK in [video.name for video in library.videos()]


def test_moved_films_are_relinked(own_films: Path, tmp_path: Path) -> None:
    with fdvs.Library(tmp_path / "library", settings=Settings()) as library:
        library.build([own_films / "one"])
        (own_films / "one").rename(own_films / "three")
        old, new = str(own_films / "one" / TWIN), str(own_films / "three" / TWIN)
        assert library.relink(own_films) == ([(old, new)], [])
        assert [row.path for row in library.status()] == [new]
        with pytest.raises(InputError, match="is not a folder"):
            library.relink(tmp_path / "nowhere")


def test_errors_say_what_is_wrong(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="`fdvs build` makes one"):
        fdvs.Library(tmp_path / "none", create=False)
    with pytest.raises(UsageError, match="unknown profile"):
        fdvs.Library(tmp_path / "none", profile="x")
    with pytest.raises(UsageError, match="unknown setting"):
        fdvs.Library(tmp_path / "none", assignments=["clips.x=1"])
    with fdvs.Library(tmp_path / "none") as unmade, pytest.raises(NotFoundError):
        unmade.status()
    assert not (tmp_path / "none").exists()
    with fdvs.Library(world.library, create=False) as library:
        with pytest.raises(AmbiguousError, match="fits 2 videos"):
            library.story(TWIN)
        with pytest.raises(NotFoundError, match="no video 'nobody'"):
            library.search("x", video="nobody")
        with pytest.raises(UsageError, match="unknown level"):
            library.search("x", level="word")
        with pytest.raises(InputError, match="k must be at least 1"):
            library.search("x", k=0)
        with pytest.raises(UsageError, match="unknown reader"):
            library.ask("x", reader="nobody")
    (tmp_path / "not-a-library").mkdir()
    (tmp_path / "not-a-library" / "library.sqlite").write_text("text, not a database" * 100)
    with pytest.raises(StoreError):
        fdvs.Library(tmp_path / "not-a-library", create=False)


def test_a_closed_library_lets_go_of_its_files(own_library: Path) -> None:
    with fdvs.Library(own_library, create=False) as library:
        library.search("red")
    library.close()
    assert not list(own_library.glob("*.sqlite-*"))
    shutil.rmtree(own_library)


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo film's story, far from its library and its film."""
    with fdvs.Library(world.library, create=False) as library:
        return library.export(FILM, output=tmp_path_factory.mktemp("alone") / "lake.json")


def test_a_story_file_is_searched_and_asked_alone(exported: Path, world: World) -> None:
    story = fdvs.Story.load(exported)
    best = story.search("a ball rolling over the grass", k=2)
    assert len(best) == 2
    assert (best[0].video, best[0].span.start_s) == (FILM, 5.0)
    assert {hit.level for hit in story.search("night", level="scene")} == {Level.SCENE}
    assert story.search("night", min_similarity=1.0) == []
    answer = story.ask("How tall is the lighthouse?", k=1)
    assert answer.text is not None
    assert "32 metres" in answer.text
    assert len(answer.citations) == 1
    assert story.ask("Who is the president of France?").abstained
    assert story.ask("What hangs above the sofa?", options=["a lamp", "a clock"]).option_index == 1
    with fdvs.Library(world.library, create=False) as library:
        in_library = library.search("a ball rolling over the grass", k=2, video=FILM)[0]
    assert (in_library.node_id, in_library.text) == (best[0].node_id, best[0].text)


def test_a_story_file_is_walked_and_looked_up_by_time(exported: Path) -> None:
    story = fdvs.Story.load(str(exported))
    nodes = list(story.walk())
    assert nodes[0].level is Level.VIDEO
    assert nodes == list(story.nodes)
    clips = [node for node in nodes if node.level is Level.CLIP]
    assert [clip.span.start_ms for clip in clips] == sorted(clip.span.start_ms for clip in clips)
    assert clips[-1].span.end_ms == story.video.duration_ms == 66_000
    here = story.at(30.5)
    assert [node.level for node in here] == [Level.VIDEO, Level.CHAPTER, Level.SCENE, Level.CLIP]
    assert all(node.span.contains(30_500) for node in here)
    assert "lighthouse" in here[-1].text
    for outside in (-0.001, 66.0):
        with pytest.raises(InputError, match="outside the video"):
            story.at(outside)
    assert story.render("json") == exported.read_text()


def test_what_is_no_story_is_refused(tmp_path: Path) -> None:
    for name, text in (("empty.json", ""), ("other.json", '{"schema": "other"}'), ("list.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            fdvs.Story.load(tmp_path / name)
    with pytest.raises(InputError, match=r"gone\.json"):
        fdvs.Story.load(tmp_path / "gone.json")

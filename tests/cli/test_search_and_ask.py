"""The options of `search` and `ask` do what they say, and their text output can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import FILM, done
from tests.cli.conftest import World

QUERY = "the moon over the lake at night"


def hits(world: World, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done("search", QUERY, *options, "--json", "-L", world.library).json["hits"]
    return found


def test_min_similarity_compares_the_cosine_not_the_rank(world: World) -> None:
    found = hits(world, "-k", "20", "--level", "clip")
    similarities = sorted((hit["similarity"] for hit in found), reverse=True)
    assert len(set(similarities)) > 3
    limit = (similarities[1] + similarities[2]) / 2
    kept = hits(world, "-k", "20", "--level", "clip", "--min-similarity", str(limit))
    assert [hit["node_id"] for hit in kept] == [hit["node_id"] for hit in found if hit["similarity"] >= limit]
    assert len(kept) == 2
    assert hits(world, "--min-similarity", "1") == []


@pytest.mark.parametrize("k", [1, 3])
def test_k_is_the_most_that_is_shown(world: World, k: int) -> None:
    assert len(hits(world, "-k", str(k))) == k
    answer = done("ask", "How tall is the lighthouse?", "-k", str(k), "--json", "-L", world.library).json
    assert len(answer["citations"]) == k


@pytest.mark.parametrize("level", ["clip", "scene", "chapter", "video"])
def test_level_shows_that_level_alone(world: World, level: str) -> None:
    assert {hit["level"] for hit in hits(world, "--level", level)} == {level}


def test_repeated_text_is_one_hit_with_its_other_times(world: World) -> None:
    found = done("search", "beekeeper with a white hive", "--level", "clip", "--json", "-L", world.library).json["hits"]
    assert found[0]["start_s"] == 15.0
    assert found[0]["also"] == [[21.5, 30.0]]
    shown = done("search", "beekeeper with a white hive", "--level", "clip", "-L", world.library).out
    assert "also at 0:21" in shown


def test_a_hit_is_shown_with_number_video_time_level_and_text(world: World) -> None:
    lines = done("search", QUERY, "-k", "2", "-L", world.library).out.splitlines()
    assert lines[0].startswith(f" 1. {FILM}  0:")
    assert "similarity 0." in lines[0]
    assert "full moon" in " ".join(line.strip() for line in lines)
    assert sum(line.startswith(" 2. ") for line in lines) == 1
    assert max(map(len, lines)) <= 100


def test_an_answer_comes_first_and_then_its_moments(world: World) -> None:
    lines = done("ask", "How tall is the lighthouse?", "-k", "1", "-L", world.library).out.splitlines()
    where = lines.index("From:")
    assert "32 metres" in " ".join(lines[:where])
    assert lines[where + 1].startswith(f" 1. {FILM}  0:26–0:35")


def test_a_choice_shows_every_option_with_its_score(world: World) -> None:
    options = ("a painting", "a clock", "a mirror")
    given = [part for option in options for part in ("--option", option)]
    lines = done("ask", "What hangs above the sofa?", *given, "-L", world.library).out.splitlines()
    assert lines[0] == "a clock"
    assert [line.split(maxsplit=1)[1] for line in lines[1:4]] == list(options)
    assert sum(float(line.split()[0]) for line in lines[1:4]) == pytest.approx(1, abs=0.02)


def test_no_answer_says_so_and_shows_what_came_nearest(world: World) -> None:
    lines = done("ask", "Who is the president of France?", "-k", "2", "-L", world.library).out.splitlines()
    assert lines[:2] == ["No answer: nothing in the stories supports one.", "Nearest:"]
    assert lines[2].startswith(" 1. ")


def test_options_that_nothing_tells_of_are_equally_likely(tmp_path: Path) -> None:
    silent = tmp_path / "silent.jsonl"
    silent.write_text('{"video": "silent", "start_s": 0, "end_s": 5, "text": "", "duration_s": 5}\n')
    library = tmp_path / "library"
    done("import", silent, "-L", library)
    answer = done("ask", "What?", "--option", "a", "--option", "b", "--json", "-L", library).json
    assert (answer["abstained"], answer["answer"], answer["option_index"]) == (True, None, None)
    assert answer["option_scores"] == [0.5, 0.5]

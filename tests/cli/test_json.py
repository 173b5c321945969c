"""The JSON of every command has exactly the keys and types of the contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fdvs.records import ERROR_CODES, Level
from tests.cli.commands import FILM, NO_READING, STORY_SCHEMA, TALK, done, fdvs, story_of
from tests.cli.conftest import World

ROW = {"video", "path", "video_id", "state", "clips_done", "clips_total", "warnings", "error"}
HIT = {
    "video", "video_id", "node_id", "level", "start_s", "end_s", "title", "text", "similarity", "rank_score", "also",
}  # fmt: skip
ANSWER = {
    "question", "answer", "abstained", "option_index", "option_scores", "confidence", "citations", "reader",
}  # fmt: skip
REMOVED = {
    "id", "video_id", "kind", "start_s", "end_s",
    "kept_id", "kept_video_id", "kept_start_s", "kept_end_s", "similarity", "rule",
}  # fmt: skip
VIDEO_ID = re.compile(r"[0-9a-f]{64}")


def is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def check_row(row: dict[str, Any]) -> None:
    assert set(row) == ROW
    assert isinstance(row["video"], str)
    assert row["path"] is None or Path(row["path"]).is_absolute()
    assert row["video_id"] is None or VIDEO_ID.fullmatch(row["video_id"])
    assert row["state"] in {"done", "failed", "running", "pending"}
    assert type(row["clips_done"]) is int
    assert row["clips_total"] is None or type(row["clips_total"]) is int
    assert all(isinstance(warning, str) for warning in row["warnings"])
    if row["error"] is not None:
        assert set(row["error"]) == {"code", "message"}
        assert row["error"]["code"] in ERROR_CODES
        assert row["error"]["message"]
    assert (row["error"] is not None) == (row["state"] == "failed")


def check_hit(hit: dict[str, Any], duration_s: float) -> None:
    assert set(hit) == HIT
    assert VIDEO_ID.fullmatch(hit["video_id"])
    assert hit["level"] in list(Level)
    assert hit["node_id"].startswith(f"{hit['level']}-")
    assert 0 <= hit["start_s"] < hit["end_s"] <= duration_s
    assert isinstance(hit["title"], str)
    assert hit["text"]
    assert -1 <= hit["similarity"] <= 1
    assert is_fraction(hit["rank_score"])
    for start_s, end_s in hit["also"]:
        assert 0 <= start_s < end_s <= duration_s


def test_build_tells_one_row_per_path_and_a_summary(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no film at all, just text")
    inputs = (world.films / "one", broken, tmp_path / "gone.mp4")
    ended = fdvs("build", *inputs, *NO_READING, "-L", tmp_path / "library", "--json")
    assert ended.code == 3
    assert set(ended.json) == {"videos", "summary"}
    for row in ended.json["videos"]:
        check_row(row)
    codes = {row["video"]: (row["error"] or {}).get("code") for row in ended.json["videos"]}
    assert codes == {"broken.mp4": "not_media", "gone.mp4": "not_found", "twin.mp4": None}
    summary = ended.json["summary"]
    assert set(summary) == {"done", "failed", "skipped", "seconds"}
    assert (summary["done"], summary["failed"], summary["skipped"]) == (1, 2, 0)
    assert summary["seconds"] > 0


def test_status_has_a_row_for_every_path_and_every_import(world: World) -> None:
    ended = done("status", "--json", "-L", world.library)
    assert set(ended.json) == {"videos"}
    for row in ended.json["videos"]:
        check_row(row)
        assert row["state"] == "done"
        assert row["clips_done"] == row["clips_total"] > 0
    assert [row["video"] for row in ended.json["videos"]] == [FILM, "twin.mp4", "twin.mp4", TALK]
    assert [row["path"] is None for row in ended.json["videos"]] == [False, False, False, True]


def test_search_tells_hits_with_times_in_seconds_and_scores_as_fractions(world: World) -> None:
    ended = done("search", "a ball rolling over the grass", "--json", "-L", world.library)
    assert set(ended.json) == {"query", "hits"}
    assert ended.json["query"] == "a ball rolling over the grass"
    for hit in ended.json["hits"]:
        check_hit(hit, 66.0)
    best = ended.json["hits"][0]
    assert best["video"] == FILM
    assert best["start_s"] == 5.0  # when the ball's shot begins
    scores = [hit["rank_score"] for hit in ended.json["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_an_answer_is_told_with_its_citations(world: World) -> None:
    answer = done("ask", "How tall is the lighthouse?", "--json", "-L", world.library).json
    assert set(answer) == ANSWER
    assert "32 metres" in answer["answer"]
    assert answer["abstained"] is False
    assert answer["option_index"] is None
    assert answer["option_scores"] is None
    assert is_fraction(answer["confidence"])
    assert answer["reader"] == "builtin"
    assert 1 <= len(answer["citations"]) <= 5
    for hit in answer["citations"]:
        check_hit(hit, 66.0)
    assert answer["citations"][0]["start_s"] <= 30.2 < answer["citations"][0]["end_s"]


@pytest.mark.parametrize("video", [[], ["--video", FILM]])
def test_a_choice_has_scores_in_option_order_that_sum_to_one(world: World, video: list[str]) -> None:
    options = ["--option", "a painting", "--option", "a clock", "--option", "a mirror"]
    answer = done("ask", "What hangs above the sofa?", *options, *video, "--json", "-L", world.library).json
    assert set(answer) == ANSWER
    assert (answer["answer"], answer["option_index"], answer["abstained"]) == ("a clock", 1, False)
    assert len(answer["option_scores"]) == 3
    assert all(is_fraction(score) for score in answer["option_scores"])
    assert sum(answer["option_scores"]) == pytest.approx(1, abs=1e-9)
    assert max(answer["option_scores"]) == answer["option_scores"][1]


def test_an_abstained_answer_is_null_and_exits_with_0(world: World) -> None:
    answer = done("ask", "Who is the president of France?", "--json", "-L", world.library).json
    assert set(answer) == ANSWER
    assert answer["answer"] is None
    assert answer["abstained"] is True
    assert answer["option_index"] is None
    assert answer["confidence"] < 0.5


def test_every_story_fits_the_shipped_schema(world: World) -> None:
    ids = [row["video_id"] for row in done("status", "--json", "-L", world.library).json["videos"]]
    for video_id in ids:
        data = story_of(world.library, video_id)
        assert list(data) == ["schema", "video", "settings", "captions", "nodes", "duplicates"]
        assert data["schema"] == "fdvs-story/1"
        assert data["video"]["id"] == video_id
        for node in data["nodes"]:
            assert node["text"] == " ".join(sentence["text"] for sentence in node["sentences"])
    assert done("story", FILM, "--json", "-L", world.library).json == story_of(world.library, FILM)


def test_the_schema_would_notice_a_wrong_export(world: World) -> None:
    data = story_of(world.library, FILM)
    del data["nodes"][0]["level"]
    assert not STORY_SCHEMA.is_valid(data)


def test_redundancy_names_rule_neighbour_and_similarity(world: World) -> None:
    report = done("redundancy", FILM, "--json", "-L", world.library).json
    assert set(report) == {"video", "frames_sampled", "frames_kept", "captions_total", "captions_kept", "removed"}
    assert report["video"] == FILM
    frames = [item for item in report["removed"] if item["id"].startswith("frame-")]
    assert report["frames_sampled"] - report["frames_kept"] == len(frames) > 0
    assert 0 < report["captions_kept"] <= report["captions_total"]
    for item in report["removed"]:
        assert set(item) == REMOVED
        assert item["kind"] in {"visual", "textual"}
        assert 0 <= item["start_s"] < item["end_s"] <= 66.0
        assert 0 <= item["kept_start_s"] < item["kept_end_s"] <= 66.0
        assert is_fraction(item["similarity"])
        assert item["rule"]
        assert item["id"] != item["kept_id"]


def test_redundancy_of_all_adds_up(world: World) -> None:
    total = done("redundancy", "--all", "--json", "-L", world.library).json
    ids = [row["video_id"] for row in done("status", "--json", "-L", world.library).json["videos"]]
    each = [done("redundancy", one, "--json", "-L", world.library).json for one in ids]
    assert total["video"] is None
    for key in ("frames_sampled", "frames_kept", "captions_total", "captions_kept"):
        assert total[key] == sum(report[key] for report in each)
    pairs = [{(item["id"], item["kept_id"]) for item in report["removed"]} for report in (total, *each)]
    assert pairs[0] == set().union(*pairs[1:])
    # The second of the two films of one name starts one picture after the first; both of them show the link.
    (link,) = [item for item in total["removed"] if item["video_id"] != item["kept_video_id"]]
    assert ({link["kept_start_s"], link["start_s"]}, link["rule"]) == ({0.0, 0.2}, "reencoding")
    assert sum(link in report["removed"] for report in each) == 2


def test_import_tells_rows_and_a_summary(world: World, tmp_path: Path) -> None:
    ended = done("import", world.talk, "--json", "-L", tmp_path / "library")
    assert set(ended.json) == {"videos", "summary"}
    (row,) = ended.json["videos"]
    check_row(row)
    assert (row["video"], row["state"]) == (TALK, "done")


def test_doctor_tells_checks(world: World) -> None:
    report = done("doctor", "--json", "-L", world.library).json
    assert set(report) == {"ok", "checks"}
    assert {"name", "status", "detail", "mend"} == set().union(*report["checks"])
    assert any(check["name"] == "library" for check in report["checks"])


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["search", "red"],
        ["ask", "What rolls?"],
        ["redundancy", FILM],
        ["story", FILM],
        ["build", "--dry-run", "FILMS"],
        ["doctor"],
    ],
)
def test_json_is_all_there_is_on_stdout(world: World, command: list[str]) -> None:
    given = [str(world.films) if one == "FILMS" else one for one in command]
    out = done(*given, "--json", "-L", world.library).out
    assert isinstance(json.loads(out), dict)
    assert out.endswith("}\n")

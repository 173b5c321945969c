from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.errors import IndexMismatchError, ShapeError
from fdvs.records import Level, Sentence, Span, StoryNode, Video
from fdvs.store import vectors
from fdvs.store.library import Store
from fdvs.store.vectors import VectorIndex

DIMENSION = 16
KINDS = ("numpy-exact", "faiss-flat")


def put(store: Store, matrix: NDArray[np.float32], model: str = "m", video_id: str = "v") -> list[str]:
    """A video with one clip per row; node ids are not in row order. Returns the id of each row."""
    order = np.random.default_rng(0).permutation(len(matrix))
    ids = [f"{video_id}-n{order[i]:06d}" for i in range(len(matrix))]
    leaves = [
        StoryNode(node_id, Level.CLIP, "root", (), Span(i, i + 1), "", (Sentence(f"text {i}", ("c",)),), "w")
        for i, node_id in enumerate(ids)
    ]
    root = StoryNode("root", Level.VIDEO, None, tuple(ids), Span(0, len(ids)), "", (), "w")
    store.put_video(Video(video_id, "v.mp4", len(ids)))
    rows = dict(zip(ids, matrix, strict=True))
    store.put_story(video_id, "s", {}, [root, *leaves], vectors=rows, model=model, clips_hash="c", captions_hash="c")
    return ids


def unit(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    found: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def node_ids(store: Store, keys: Sequence[int]) -> list[str]:
    return [row.id for row in store.node_rows(list(keys))]


def obvious(ids: list[str], matrix: NDArray[np.float32], query: NDArray[np.float32], k: int) -> list[str]:
    scores = np.round(matrix @ query, 6)
    return [node_id for _, node_id in sorted(zip(-scores, ids, strict=True))[:k]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", [True, False])
def test_every_kind_finds_what_the_obvious_search_finds(tmp_path: Path, kind: str, folder: bool) -> None:
    store = Store.open(tmp_path, create=True) if folder else Store.in_memory()
    matrix = unit(300)
    ids = put(store, matrix)
    index = VectorIndex.open(store, "m", DIMENSION, kind=kind)
    assert (index.kind, index.count, index.dimension) == (kind, 300, DIMENSION)
    for query in unit(5, seed=1):
        for k in (1, 7, 300, 1000):
            keys, scores = index.search(query, k)
            assert node_ids(store, keys.tolist()) == obvious(ids, matrix, query, k)
            assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_ties_are_broken_by_node_id(kind: str) -> None:
    store = Store.in_memory()
    matrix = np.repeat(unit(4), 60, axis=0)  # far more equal rows than any list asked for
    ids = put(store, matrix)
    index = VectorIndex.open(store, "m", DIMENSION, kind=kind)
    for k in (1, 5, 61, 130):
        keys, _ = index.search(matrix[70], k)
        assert node_ids(store, keys.tolist()) == obvious(ids, matrix, matrix[70], k)


@pytest.mark.parametrize("kind", [*KINDS, "faiss-ivf-sq8"])
def test_only_allowed_vectors_are_found(kind: str) -> None:
    store = Store.in_memory()
    put(store, unit(400))
    index = VectorIndex.open(store, "m", DIMENSION, kind=kind)
    allowed = np.arange(400) % 50 == 3
    keys, _ = index.search(unit(1, seed=5)[0], 20, allowed)
    assert sorted(keys.tolist()) == sorted(index.keys[allowed].tolist())
    assert index.search(unit(1)[0], 5, np.zeros(400, bool))[0].size == 0


def test_the_kind_follows_from_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vectors.choose_kind(10) == "numpy-exact"
    assert vectors.choose_kind(vectors.FLAT_ABOVE + 1) == "faiss-flat"
    assert vectors.choose_kind(vectors.IVF_ABOVE + 1) == "faiss-ivf-sq8"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert vectors.choose_kind(vectors.IVF_ABOVE + 1) == "numpy-exact"


def test_a_cell_index_finds_nearly_all_of_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "FLAT_ABOVE", 100)
    monkeypatch.setattr(vectors, "IVF_ABOVE", 1000)
    store = Store.in_memory()
    random = np.random.default_rng(3)
    centres = random.normal(size=(60, 64))
    rows = centres[random.integers(0, 60, 6000)] + 0.8 * random.normal(size=(6000, 64))
    matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ids = put(store, matrix)
    index = VectorIndex.open(store, "m", 64)
    assert index.kind == "faiss-ivf-sq8"
    found = 0
    for row in range(0, 6000, 120):
        query = matrix[row] + 0.1 * unit(1, row, 64)[0]
        query /= np.linalg.norm(query)
        keys, _ = index.search(query, 100)
        found += len(set(node_ids(store, keys.tolist())) & set(obvious(ids, matrix, query, 10)))
    assert found / 500 >= 0.97


def test_statistics_are_those_of_all_similarities() -> None:
    store, matrix = Store.in_memory(), unit(500)
    put(store, matrix)
    index = VectorIndex.open(store, "m", DIMENSION)
    query = unit(1, seed=9)[0]
    assert index.statistics.of(query) == pytest.approx(((matrix @ query).mean(), (matrix @ query).std()), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_index_is_used_while_it_is_current(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path, create=True) as store:
        put(store, unit(50))
        built = VectorIndex.open(store, "m", DIMENSION, kind=kind)
        header = json.loads((tmp_path / "index" / "vectors.json").read_text())
        assert {key: header[key] for key in ("model", "dimension", "count", "kind", "generation")} == {
            "model": "m", "dimension": DIMENSION, "count": 50, "kind": kind, "generation": store.generation,
        }  # fmt: skip
        monkeypatch.setattr(vectors, "read_vectors", _must_not_run)
        loaded = VectorIndex.open(store, "m", DIMENSION, kind=kind)
        query = unit(1, seed=2)[0]
        assert loaded.search(query, 9)[0].tolist() == built.search(query, 9)[0].tolist()
        assert loaded.statistics.of(query) == built.statistics.of(query)


def _must_not_run(*_: object) -> Any:
    raise AssertionError("the saved index must be used")


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["deleted", "flipped", "cut", "no header", "bad header", "stale"])
def test_an_index_that_is_stale_deleted_or_damaged_is_rebuilt(tmp_path: Path, kind: str, what: str) -> None:
    with Store.open(tmp_path, create=True) as store:
        matrix = unit(50)
        put(store, matrix)
        VectorIndex.open(store, "m", DIMENSION, kind=kind)
        header = tmp_path / "index" / "vectors.json"
        files = sorted((tmp_path / "index").glob("vectors-*"))
        assert len(files) == 2
        for path in files:
            if what == "deleted":
                path.unlink()
            elif what == "flipped":
                _damage(path)
            elif what == "cut":
                path.write_bytes(path.read_bytes()[:-10])
        if what == "no header":
            header.unlink()
        elif what == "bad header":
            header.write_text('{"format": 1, "files": 7')
        elif what == "stale":
            matrix = unit(60, seed=4)
        ids = put(store, matrix)
        index = VectorIndex.open(store, "m", DIMENSION, kind=kind)
        keys, _ = index.search(matrix[5], 3)
        assert node_ids(store, keys.tolist()) == obvious(ids, matrix, matrix[5], 3)
        assert len(sorted((tmp_path / "index").glob("vectors-*"))) == 2, "older files are dropped"


def test_another_model_or_dimension_is_a_mismatch() -> None:
    store = Store.in_memory()
    put(store, unit(5))
    for model, dimension in (("other", DIMENSION), ("m", DIMENSION + 1)):
        with pytest.raises(IndexMismatchError, match=r"5 by m \[16\]"):
            VectorIndex.open(store, model, dimension)
    put(store, unit(5), model="other", video_id="w")
    with pytest.raises(IndexMismatchError, match="5 by other"):
        VectorIndex.open(store, "m", DIMENSION)


def test_a_query_of_another_shape_is_refused() -> None:
    store = Store.in_memory()
    put(store, unit(5))
    index = VectorIndex.open(store, "m", DIMENSION)
    with pytest.raises(ShapeError, match=r"\[16\]"):
        index.search(np.ones((1, DIMENSION), np.float32), 3)


def test_an_empty_library_finds_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        index = VectorIndex.open(store, "m", DIMENSION)
        assert index.search(unit(1)[0], 5)[0].tolist() == []
        assert not (tmp_path / "index").exists()


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        put(store, unit(5))
        (tmp_path / "index").write_text("a file where the folder should be")
        assert VectorIndex.open(store, "m", DIMENSION).count == 5


REBUILD = """
import sys
from pathlib import Path
from fdvs.store.library import Store
from fdvs.store.postings import PostingIndex
from fdvs.store.vectors import VectorIndex
with Store.open(Path(sys.argv[1]), create=False, readonly=True) as store:
    for _ in range(8):
        index = VectorIndex.open(store, "m", 16, kind="faiss-flat")
        words = PostingIndex.open(store)
        for path in (Path(sys.argv[1]) / "index").glob("*.json"):
            path.unlink(missing_ok=True)
        print(index.count, words.count, flush=True)
"""


def test_processes_that_rebuild_at_once_while_the_library_changes(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store, ExitStack() as stack:
        put(store, unit(200))
        command = [sys.executable, "-c", REBUILD, str(tmp_path)]
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(2)]
        while any(reader.poll() is None for reader in readers):
            put(store, unit(200, seed=store.generation))
        for reader in readers:
            out, _ = reader.communicate()
            assert reader.returncode == 0
            assert out.splitlines() == ["200 200"] * 8
        assert VectorIndex.open(store, "m", DIMENSION, kind="faiss-flat").count == 200
    assert not list((tmp_path / "index").glob(".tmp-*"))

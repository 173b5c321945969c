"""The search within a radius: NumPy's plain meaning, and FAISS the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fdvs.redundancy import near as module
from fdvs.redundancy.near import FaissNear, GrowingNear, NumpyNear, Points


def points(count: int, seed: int) -> Points:
    """Points of length 1 in clusters, so that some lie near each other."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(40, 32))
    found = centres[rng.integers(0, 40, count)] + rng.normal(scale=0.02, size=(count, 32))
    unit: Points = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_pairs_are_those_within_the_radius_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, asked = points(700, 1), points(90, 2)
    distances = np.linalg.norm(asked[:, None].astype(np.float64) - stored, axis=2)
    wanted = set(zip(*np.nonzero(distances <= 0.15), strict=True))
    assert 200 < len(wanted) < distances.size / 4
    for block in (64, 8192):
        monkeypatch.setattr(module, "BLOCK", block)
        search = NumpyNear(32, 0.15)
        for part in np.array_split(stored, 5):
            search.add(part)
        found = set(zip(*search.pairs(asked), strict=True))
        assert wanted <= found
        assert all(distances[pair] <= 0.151 for pair in found)


def test_nothing_is_near_before_anything_was_added() -> None:
    rows, positions = NumpyNear(32, 0.15).pairs(points(3, 1))
    assert rows.tolist() == positions.tolist() == []


def test_faiss_finds_what_numpy_finds() -> None:
    pytest.importorskip("faiss")
    stored, asked = points(3000, 3), points(500, 4)
    one, other = NumpyNear(32, 0.15), FaissNear(32, 0.15)
    for search in (one, other):
        search.add(stored[:1000])
        search.add(stored[1000:])
    close = set(zip(*one.pairs(asked), strict=True))
    close_too = set(zip(*other.pairs(asked), strict=True))
    # They may differ in pairs that lie on the limit to the last bit of float32; none does here.
    assert close == close_too
    assert len(close) > 1000


def test_a_growing_search_finds_the_same_before_and_after_it_goes_over_to_faiss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(module, "FAISS_PAYS_FROM", 600)
    stored, asked = points(1200, 4), points(50, 5)
    growing, plain = GrowingNear(32, 0.15), NumpyNear(32, 0.15)
    pairs = []
    for start in range(0, 1200, 400):
        for search in (growing, plain):
            search.add(stored[start : start + 400])
        pairs.append(len(plain.pairs(asked)[0]))
        for one, other in zip(growing.pairs(asked), plain.pairs(asked), strict=True):
            assert one.tolist() == other.tolist()
    assert 0 < pairs[0] < pairs[1] < pairs[2]


def test_few_pictures_do_not_load_faiss() -> None:
    code = (
        "import sys; import numpy as np; from fdvs.redundancy.near import GrowingNear; s = GrowingNear(32, 0.1); "
        "s.add(np.ones((5000, 32), np.float32)); s.pairs(np.ones((9, 32), np.float32)); print('faiss' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"

"""Fixtures for all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fdvs.demo.film import DemoFilm, describe_demo, render_demo
from tests.shared_library import SHARED_VIDEOS, build_shared, once_per_run, shared_films
from tests.tiny_models import build as build_tiny
from tests.tiny_models import needed_modules

# Triton decides when it is first imported, by anybody, whether kernels run step by step in Python. Without a GPU they
# have to; with one, TRITON_INTERPRET=1 still asks for it.
if not any(Path("/dev").glob("nvidia[0-9]*")):
    os.environ.setdefault("TRITON_INTERPRET", "1")

Once = Callable[[str, Callable[[Path], object]], Path]
TinyModel = Callable[[str], Path]
SharedLibrary = Callable[[str], Path]

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores. With a thread for every core in each of them, torch spends more time on waiting for
    # its own threads than on its tiny models. Set before anything loads it, and inherited by every process of a test.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: with one of them at the end, one worker would be at work and the other have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder that `make` fills once per run, also where several processes share the tests."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return lambda name, make: once_per_run(root, name, make)


@pytest.fixture(scope="session")
def tiny_model(once: Once) -> TinyModel:
    """`tiny_model(family)`: the folder of a tiny checkpoint of a family of `tests.tiny_models`. For reading only."""

    def folder_of(family: str) -> Path:
        if missing := [module for module in needed_modules(family) if importlib.util.find_spec(module) is None]:
            pytest.skip(f"not installed: {', '.join(missing)}")
        return once(f"tiny-{family}", lambda folder: build_tiny(family, folder))

    return folder_of


@pytest.fixture(scope="session")
def demo(once: Once) -> DemoFilm:
    """The demo film and its subtitles, alone in their folder. For reading only."""
    return describe_demo(once("demo", render_demo))


@pytest.fixture(scope="session")
def shared_library(once: Once) -> SharedLibrary:
    """`shared_library(profile)`: a library of all shared films. For reading only."""
    if not shared_films():
        pytest.skip(f"no shared films in {SHARED_VIDEOS}")

    def library_of(profile: str) -> Path:
        def make(folder: Path) -> None:
            report = build_shared(folder, profile)
            assert report.exit_code == 0, [row for row in report.rows if row.code]

        return once(f"shared-{profile}", make)

    return library_of

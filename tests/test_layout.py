"""The shape of the repository: root entries, the five links, and that tools see the one package behind them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKS = ("captioners", "redundancy", "retrieval", "kernels", "cli")
NINE = ("pyproject.toml", "fdvs", *LINKS, "tests", "README.md")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def small_checkout(tmp_path: Path) -> Path:
    """The project's own tool settings over a package with nothing in it but one file per linked folder."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "fdvs").mkdir()
    (tmp_path / "fdvs/__init__.py").touch()
    for name in LINKS:
        (tmp_path / "fdvs" / name).mkdir()
        if (ROOT / "fdvs" / name / "__init__.py").exists():
            (tmp_path / "fdvs" / name / "__init__.py").touch()
        (tmp_path / name).symlink_to(f"fdvs/{name}")
    return tmp_path


@pytest.mark.parametrize("name", NINE)
def test_root_entry_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", LINKS)
def test_link_leads_into_the_package(name: str) -> None:
    link = ROOT / name
    if link.is_symlink():
        assert link.readlink() == Path("fdvs") / name
        assert link.resolve() == ROOT / "fdvs" / name
    else:  # a checkout without symbolic links turns them into text files that hold the path
        assert link.is_file()
        assert link.read_text() == f"fdvs/{name}"


@pytest.mark.parametrize("name", LINKS)
def test_subpackage_is_imported_from_the_package(name: str) -> None:
    spec = importlib.util.find_spec(f"fdvs.{name}")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    assert [Path(entry).resolve() for entry in spec.submodule_search_locations] == [ROOT / "fdvs" / name]


def test_kernels_is_a_namespace_folder() -> None:
    assert not (ROOT / "fdvs/kernels/__init__.py").exists()
    spec = importlib.util.find_spec("fdvs.kernels")
    assert spec is not None
    assert spec.origin is None


def test_installed_kernels_wins_over_the_link_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/__init__.py").touch()
    code = (
        f"import sys; sys.path = [{str(ROOT)!r}, *sys.path, {str(tmp_path)!r}]; import kernels; print(kernels.__file__)"
    )
    result = run("-c", code, cwd=ROOT)
    assert result.stdout.strip() == str(tmp_path / "kernels/__init__.py"), result.stderr


@pytest.mark.model
def test_transformers_does_not_take_the_link_for_the_published_kernels() -> None:
    pytest.importorskip("transformers")
    if any(True for _ in importlib.metadata.distributions(name="kernels")):
        pytest.skip("the published kernels package is installed")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from transformers.utils import import_utils; print(import_utils.is_kernels_available())"
    )
    result = run("-c", code, cwd=ROOT)
    assert result.stdout.strip() == "False", result.stderr


def test_linter_reports_a_bare_import_in_every_folder(small_checkout: Path) -> None:
    for folder in LINKS:
        lines = [f"import {name}  # noqa: F401\n" for name in LINKS]
        (small_checkout / "fdvs" / folder / "planted.py").write_text("".join(lines))
    result = run("-m", "ruff", "check", "--no-cache", "--output-format", "concise", "fdvs", cwd=small_checkout)
    assert result.returncode == 1
    reports = [line for line in result.stdout.splitlines() if " TID251 " in line]
    for folder in LINKS:
        for name in LINKS:
            where, wanted = f"fdvs/{folder}/planted.py", f"import fdvs.{name}"
            assert any(where in line and line.endswith(wanted) for line in reports), (folder, name)


def test_linter_reads_the_code_once_and_not_through_the_links(small_checkout: Path) -> None:
    for folder in LINKS:
        (small_checkout / "fdvs" / folder / "planted.py").touch()
    result = run("-m", "ruff", "check", "--no-cache", "--show-files", ".", cwd=small_checkout)
    seen = sorted(line for line in result.stdout.splitlines() if line.endswith("planted.py"))
    assert seen == sorted(str(small_checkout / "fdvs" / folder / "planted.py") for folder in LINKS)


def test_type_checker_reports_an_error_in_every_folder(small_checkout: Path) -> None:
    for folder in LINKS:
        (small_checkout / "fdvs" / folder / "planted.py").write_text('number: int = "text"\n')
    result = run("-m", "mypy", "--cache-dir", ".mypy_cache", "fdvs", cwd=small_checkout)
    assert result.returncode == 1
    for folder in LINKS:
        assert f"fdvs/{folder}/planted.py:1: error: Incompatible types in assignment" in result.stdout

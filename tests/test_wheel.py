"""What is built for others to install holds what it must, nothing else, and works in an empty environment."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKS = ("captioners", "redundancy", "retrieval", "kernels", "cli")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path

    def wheel_names(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    def sdist_names(self) -> list[str]:
        """Paths below the archive's own top folder."""
        with tarfile.open(self.sdist) as archive:
            return [name.partition("/")[2] for name in archive.getnames()]


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of this checkout, and the wheel made from that sdist: what a release would be."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(wheel, sdist)


def shipped_files() -> set[str]:
    ignored = {".pyc", ".pyo"}
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fdvs").rglob("*")
        if path.is_file() and path.suffix not in ignored
    }


def test_wheel_holds_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    in_package = {name for name in built.wheel_names() if ".dist-info/" not in name}
    assert in_package == shipped_files()


def test_wheel_has_one_top_level_package(built: Built) -> None:
    tops = {name.partition("/")[0] for name in built.wheel_names()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fdvs"}
    assert not tops & set(LINKS)


def test_wheel_has_the_files_that_no_import_would_miss(built: Built) -> None:
    names = built.wheel_names()
    for name in ("LICENSE", "NOTICE", "SHA256SUMS", "model.onnx", "tokenizer.json"):
        assert f"fdvs/encoders/minilm/{name}" in names
    assert "fdvs/py.typed" in names
    assert any(name.startswith("fdvs/") and name.endswith(".schema.json") for name in names)
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licences >= {"LICENSE", "NOTICE", "fdvs/encoders/minilm/LICENSE"}


def test_licence_texts_are_not_empty(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist() if "/licenses/" in info.filename}
    assert sizes
    assert min(sizes.values()) > 500


def test_sdist_holds_sources_tests_and_documents(built: Built) -> None:
    names = set(built.sdist_names())
    assert names >= shipped_files()
    wanted = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE", "PKG-INFO", "tests/test_wheel.py"}
    assert names >= wanted
    assert not {name for name in names if name.startswith((".venv", "demo-output", "fdvs-library"))}


def test_wheel_works_in_an_empty_environment(built: Built, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    run(python, *install, "-c", ROOT / "constraints.txt", built.wheel, cwd=tmp_path)
    run(python, "-m", "pip", "--disable-pip-version-check", "check", cwd=tmp_path)

    code = "import fdvs, importlib.util as u; print(fdvs.__file__, *map(u.find_spec, %r))" % (LINKS,)  # noqa: UP031
    where, *found = run(python, "-c", code, cwd=tmp_path).split()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert found == ["None"] * len(LINKS)

    fdvs = tmp_path / "venv/bin/fdvs"
    assert "fdvs 0." in run(fdvs, "--version", cwd=tmp_path)
    (tmp_path / "walk.srt").write_text(
        "1\n00:00:00,000 --> 00:00:04,000\nA dog runs along the beach.\n\n"
        "2\n00:00:04,000 --> 00:00:09,000\nTwo children build a castle of sand.\n"
    )
    run(fdvs, "import", "walk.srt", cwd=tmp_path)
    assert "castle" in run(fdvs, "search", "children playing with sand", "-k", "1", cwd=tmp_path)
    assert "sentence encoder" in run(fdvs, "doctor", cwd=tmp_path)

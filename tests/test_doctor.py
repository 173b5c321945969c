"""`diagnose` names what is there, what is missing and what clashes, and imports nothing heavy to find out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fdvs import doctor
from fdvs.doctor import Check, Report, Status, diagnose
from fdvs.models.table import RECOMMENDED
from fdvs.records import TimedPicture
from fdvs.store.kept_pictures import KeptPictures
from fdvs.store.library import Store


def check(name: str, library: Path | None = None) -> Check:
    found = [entry for entry in diagnose(library).checks if entry.name == name]
    assert len(found) == 1, name
    return found[0]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that is looked at before all others."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def pretend(site: Path, name: str, version: str, *more: str) -> None:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more])
    )


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in names else real(name))


def test_this_installation_has_its_core() -> None:
    assert check("core packages").status is Status.OK
    assert "av " in check("core packages").detail
    assert check("decoding").status is Status.OK
    assert check("full-text search").status is Status.OK


def test_missing_core_package_is_an_error_with_the_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pysubs2", "rich")
    found = check("core packages")
    assert found.status is Status.ERROR
    assert found.detail == "missing: pysubs2, rich"
    assert found.mend.startswith("pip install")
    assert not diagnose(None).to_json()["ok"]


@pytest.mark.parametrize(("name", "extra"), [(name, extra) for name, extra, _ in doctor.OPTIONAL])
def test_missing_extra_is_no_error_and_says_how_to_get_it(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, name)
    found = check(name)
    assert found.status is Status.ABSENT
    assert f"[{extra}]" in found.mend


def test_install_line_follows_how_fdvs_was_installed(site: Path) -> None:
    pretend(site, "fdvs", "0.1.0")
    assert doctor._install("cpu") == 'pip install "fdvs[cpu]"'
    editable = {"url": "file:///somewhere", "dir_info": {"editable": True}}
    (site / "fdvs-0.1.0.dist-info/direct_url.json").write_text(json.dumps(editable))
    assert doctor._install("cpu") == 'pip install -c constraints.txt -e ".[cpu]"'
    assert doctor._reinstall() == 'pip install --force-reinstall --no-deps -c constraints.txt -e "."'


def test_without_faiss_the_exact_search_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "faiss-cpu", "faiss-gpu")
    found = check("vector index")
    assert found.status is Status.ABSENT
    assert "NumPy" in found.detail
    assert "[cpu]" in found.mend


@pytest.mark.parametrize(("first", "second"), doctor.CLASHES)
def test_packages_that_overwrite_each_other_are_a_warning(first: str, second: str, site: Path) -> None:
    pretend(site, first, "1.0")
    pretend(site, second, "1.0")
    found = check(f"{first} / {second}")
    assert found.status is Status.WARNING
    assert found.mend.startswith(f"pip uninstall -y {first} {second}")


def test_torchvision_of_another_release_is_a_warning(site: Path) -> None:
    pretend(site, "torch", "2.13.0+cpu")
    pretend(site, "torchvision", "0.29.2", "Requires-Dist: torch==2.15.0")
    found = check("torchvision")
    assert found.status is Status.WARNING
    assert "wants torch 2.15.0" in found.detail


@pytest.mark.parametrize(
    ("cuda", "library", "status"),
    [("None", b"libcudart.so.13", Status.WARNING), ("'13.0'", b"libcudart.so.13", Status.OK), ("None", b"", Status.OK)],
)
def test_torchvision_for_cuda_beside_a_cpu_torch_is_a_warning(
    cuda: str, library: bytes, status: Status, site: Path
) -> None:
    pretend(site, "torch", "2.13.0")
    pretend(site, "torchvision", "0.28.0", "Requires-Dist: torch==2.13.0")
    for package, name, content in (
        ("torch", "version.py", f"cuda: Optional[str] = {cuda}\n".encode()),
        ("torchvision", "_C.so", b"\x7fELF" + library),
    ):
        (site / package).mkdir()
        (site / package / name).write_bytes(content)
    assert check("torchvision").status is status


def test_gpu_is_seen_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    monkeypatch.setattr(doctor, "GPU_FOLDER", tmp_path / "gpus")
    assert check("GPU").status is Status.ABSENT
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus/0000:01:00.0/information").write_text("Model: \t\t NVIDIA H200\nIRQ: 12\n")
    without(monkeypatch, "torch")
    assert check("GPU") == Check("GPU", Status.OK, "NVIDIA H200")


def test_sentence_encoder_is_compared_with_its_recorded_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENCODER_FOLDER", tmp_path)
    assert check("sentence encoder").status is Status.ERROR
    (tmp_path / "model.onnx").write_bytes(b"weights")
    assert check("sentence encoder").status is Status.OK
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  model.onnx\n")
    assert digest[:16] in check("sentence encoder").detail
    (tmp_path / "model.onnx").write_bytes(b"other weights")
    assert check("sentence encoder").status is Status.ERROR


def test_shipped_files_of_the_sentence_encoder_have_their_recorded_digests() -> None:
    for name in ("model.onnx", "tokenizer.json"):
        digest = hashlib.sha256((doctor.ENCODER_FOLDER / name).read_bytes()).hexdigest()
        assert doctor._recorded_digest(name) == digest
    assert check("sentence encoder").status is Status.OK


def test_downloaded_models_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert check("models").status is Status.ABSENT
    assert check("models").mend == "fdvs models get small"
    model = RECOMMENDED[0]
    folder = tmp_path / "hf/hub" / f"models--{model.name.replace('/', '--')}" / "snapshots" / model.revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w")
    assert check("models") == Check("models", Status.OK, model.name)
    (tmp_path / "data/fdvs").mkdir(parents=True)
    (tmp_path / "data/fdvs/models.json").write_text("{")
    assert check("models").status is Status.WARNING


class Answering(BaseHTTPRequestHandler):
    """Wants a key, as a model's server does."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        pass


def test_a_server_on_this_machine_is_asked_whether_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("FDVS_STORY_WRITER_URL", url)
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        found = check("model server")
        thread.join()
    assert found.status is Status.OK
    assert "(writer, OPENAI_BASE_URL): answers" in found.detail
    gone = check("model server")
    assert gone.status is Status.WARNING
    assert "does not answer" in gone.detail
    assert gone.mend.startswith("fdvs serve")


def test_a_server_elsewhere_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *arguments: pytest.fail("it was asked"))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:secret@models.example.com/v1")
    found = check("model server")
    assert found.status is Status.OK
    assert "models.example.com" in found.detail
    assert "secret" not in found.detail


def test_settings_that_cannot_be_read_are_an_error_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "fdvs.toml").write_text("[captions]\nwho = 1\n")
    assert check("settings", tmp_path).status is Status.ERROR


def test_the_size_of_pictures_kept_for_models_is_told(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    before = next(check for check in diagnose(tmp_path).checks if check.name == "library")
    assert "frames/" not in before.detail
    KeptPictures(tmp_path, 448).put("clip-a", [TimedPicture(0, b"x" * 1_200_000)])
    after = next(check for check in diagnose(tmp_path).checks if check.name == "library")
    assert "(1.2 MB of it pictures kept for models in frames/, which can be deleted)" in after.detail


def test_library_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("library").status is Status.ABSENT
    (tmp_path / "file").touch()
    assert check("library", tmp_path / "file").status is Status.ERROR
    (tmp_path / "library").mkdir()
    assert check("library", tmp_path / "library").status is Status.WARNING
    (tmp_path / "library/library.sqlite").write_bytes(b"x" * 200_000)
    found = check("library", tmp_path / "library")
    assert found.status is Status.OK
    assert "0.2 MB" in found.detail
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert check("library", tmp_path / "library").status is Status.WARNING


def test_little_free_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10_000_000))
    assert check("disk").status is Status.WARNING
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(50_000_000_000))
    assert check("disk").status is Status.OK


def test_report_as_text_and_as_json() -> None:
    report = Report((Check("a", Status.OK, "fine"), Check("long name", Status.WARNING, "odd", "do this")))
    assert report.lines() == [
        "ok    a          fine",
        "WARN  long name  odd",
        "                 → do this",
        "errors: 0, warnings: 1",
    ]
    assert report.to_json() == {
        "ok": True,
        "checks": [
            {"name": "a", "status": "ok", "detail": "fine", "mend": None},
            {"name": "long name", "status": "warning", "detail": "odd", "mend": "do this"},
        ],
    }


def test_diagnosis_imports_nothing_heavy() -> None:
    code = "import sys, fdvs.doctor; fdvs.doctor.diagnose(None); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "faiss", "cv2", "decord", "torchvision", "huggingface_hub", "vllm", "httpx"}
    assert not heavy & set(result.stdout.split())

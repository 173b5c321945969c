"""Every command line and every Python block of the README runs, in the order in which they stand there.

A ```console block holds `$ command` lines, each followed by the output it shows. A shown line must occur in the real
output; `…` stands for anything, and durations are not compared. `SERVER` is a scripted server there. A ```sh block
holds commands that need a GPU or a download: of these only the spelling is tested here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer

from fdvs.cli.main import app
from fdvs.models.table import RECOMMENDED
from fdvs.records import ERROR_CODES
from fdvs.settings import STAGES, load_settings
from tests.chat.fake_server import FakeServer, Seen

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

# Lines that prepare an environment; `make test` itself goes through them. `make demo` runs `fdvs demo` in it.
SERVER = "http://127.0.0.1:8000/v1"
INSTALL = ("make test", "python3 -m venv ", "pip install ")
SAME = {"make demo": "fdvs demo"}


@dataclass(frozen=True)
class Step:
    """One thing the README tells its reader to run, and the output it shows for it."""

    language: str
    code: str
    shown: tuple[str, ...] = ()


def steps() -> list[Step]:
    found: list[Step] = []
    for language, body in BLOCKS:
        if language == "python":
            found.append(Step(language, body))
        elif language == "console":
            assert body.startswith("$ "), f"a console block begins with a command: {body!r}"
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, *shown = part.splitlines()
                found.append(Step(language, command.split("  #")[0].strip(), tuple(line for line in shown if line)))
    return found


def model(request: Seen) -> Any:
    """What a model might say of the demo film: a caption, a node of the story, an answer."""
    if not request.response_format:
        return f"A scene of the day at the lake, number {request.number}."
    first = int(re.findall(r"^\[(\d+)\]", request.text, re.MULTILINE)[0])
    return {
        "title": "A day at the lake",
        "sentences": [{"text": f"A day goes by at the lake, part {request.number}.", "sources": [first]}],
        "names": [],
        "answer": "The lighthouse is 32 metres tall.",
        "cited": [first],
        "supported": True,
    }


def run(step: Step, folder: Path, server: str) -> subprocess.CompletedProcess[str]:
    if step.language == "python":
        command = [sys.executable, "-c", step.code]
    else:
        name, *arguments = shlex.split(SAME.get(step.code, step.code).replace(SERVER, server))
        assert name == "fdvs", f"the README shows a command that no test can run: {step.code}"
        command = [str(Path(sys.executable).with_name("fdvs")), *arguments]
    # The folder of the README's reader: no library, no settings, an ordinary terminal.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FDVS_")}
    environment |= {"COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def as_pattern(line: str) -> str:
    """What a shown line has to match: equal but for white space, `…` and durations."""
    pattern = r"\s+".join(re.escape(word) for word in line.split())
    pattern = re.sub(r"\d+(\\\.\d+)?\\s\+s\b", r"[\\d.]+\\s+s", pattern)
    return pattern.replace("…", ".*")


def missing_lines(shown: tuple[str, ...], output: str) -> list[str]:
    flat = [" ".join(line.split()) for line in output.splitlines()]
    return [line for line in shown if not any(re.search(as_pattern(line), real) for real in flat)]


@pytest.mark.slow
def test_every_command_and_python_block_runs_in_order(tmp_path: Path) -> None:
    ran = 0
    with FakeServer(model) as server:
        ran = run_all(tmp_path, server.url)
        assert len(server.requests) > 10
    assert ran >= 8


def run_all(folder: Path, server: str) -> int:
    ran = 0
    for step in steps():
        if step.code.startswith(INSTALL):
            continue
        result = run(step, folder, server)
        assert result.returncode == 0, f"{step.code}\n{result.stdout}\n{result.stderr}"
        assert (result.stdout + result.stderr).strip(), f"no output: {step.code}"
        assert not missing_lines(step.shown, result.stdout + result.stderr), f"{step.code}\n{result.stdout}"
        ran += 1
    return ran


def test_commands_that_are_not_run_are_spelled_right() -> None:
    group = typer.main.get_command(app)
    lines = [line for language, body in BLOCKS if language == "sh" for line in body.splitlines()]
    commands = [shlex.split(line.removeprefix("serve/bin/")) for line in lines if "fdvs " in line and "pip" not in line]
    assert len(commands) >= 6
    for _, *arguments in commands:
        command: Any = group
        rest = arguments
        while "commands" in vars(command):
            name, *rest = rest
            command = vars(command)["commands"][name]
        command.make_context(name, list(rest))  # parses, and runs nothing


def test_the_table_of_models_is_the_one_in_the_code() -> None:
    told = re.findall(
        r"^\| (\S+/\S+) \| ([^|]+) \| [^|]+ \| ([\d.]+) GB \| ([\d.]+) GB \| ([\d.]+) GB \|", README, re.M
    )
    real = [
        (
            one.name,
            ", ".join(one.sets),
            f"{one.weights_bytes / 1e9:.1f}",
            f"{one.memory_gb(2):.1f}",
            f"{one.memory_gb(4):.1f}",
        )
        for one in RECOMMENDED
    ]
    assert told == real


def test_readme_has_commands_and_python_in_its_first_forty_lines() -> None:
    top = "\n".join(README.splitlines()[:40])
    assert "make demo" in top
    assert "make test" in top
    assert top.count("$ fdvs ") >= 3
    assert "```python" in top
    assert sum(step.language == "python" for step in steps()) >= 1


def test_readme_names_every_command_and_no_other() -> None:
    known = set(vars(typer.main.get_command(app))["commands"])
    assert set(re.findall(r"^\| `fdvs ([a-z]+)", README, re.MULTILINE)) == known
    assert set(re.findall(r"\bfdvs ([a-z]+) ", " ".join(step.code + " " for step in steps()))) <= known


def test_readme_settings_are_settings(tmp_path: Path) -> None:
    files = [body for language, body in BLOCKS if language == "toml"]
    assert files
    for body in files:
        (tmp_path / "fdvs.toml").write_text(body, encoding="utf-8")
        load_settings(library=tmp_path, environ={})


def test_readme_has_every_setting_with_its_default() -> None:
    table = README.split("| setting | default |")[1].split("\n\n")[0]
    told = re.findall(r"^\| `([a-z]+\.[a-z_0-9]+)` \| `?([^`|]+?)`? \|", table, re.MULTILINE)
    names = [(stage, item.name) for stage, cls in STAGES.items() for item in fields(cls)]
    assert told == [(f"{stage}.{key}", as_shown(getattr(STAGES[stage](), key))) for stage, key in names]


def as_shown(value: object) -> str:
    """A default as the table of settings writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value) or "empty"


def test_readme_names_every_code_of_a_failed_path() -> None:
    assert set(re.findall(r"`([a-z_]+)`", README.split("has one of these codes:")[1].split(".")[0])) == ERROR_CODES


def test_readme_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    for target in targets:
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / target).exists(), target


@pytest.mark.parametrize(
    ("shown", "real", "fits"),
    [
        ("1 done, 0 failed, 4.1 s", "1 done, 0 failed,  12.9 s", True),
        ("1 done, 0 failed, 4.1 s", "0 done, 1 failed, 4.1 s", False),
        ("The ball … meadow.", "  The ball crosses the meadow.", True),
        ("0:05 The ball", "0:06 The ball", False),
    ],
)
def test_shown_output_is_compared(shown: str, real: str, fits: bool) -> None:
    assert (not missing_lines((shown,), real)) == fits

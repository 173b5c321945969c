"""Every command has help that names its options, a line in the list of commands, and an example in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from fdvs.cli.main import app
from tests.cli.commands import done, fdvs

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def commands_of(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by what is typed for it: `build`, `models get`."""
    found: dict[str, Any] = {}
    for name, command in vars(group)["commands"].items():
        found |= commands_of(command, f"{name} ") if "commands" in vars(command) else {prefix + name: command}
    return found


COMMANDS = commands_of(typer.main.get_command(app))
WITHOUT_A_LIBRARY = frozenset(
    {"demo", "models list", "models get", "serve", "kernels bench", "kernels calibrate", "kernels check"}
)

CONTRACT = {
    "build": [
        "--captioner", "--captioner-model", "--captioner-url", "--writer", "--writer-model", "--writer-url",
        "--profile", "--screen-text", "--frames", "--until", "--jobs", "--video-timeout", "--engine", "--dry-run",
        "--retry-failed", "--set", "--json", "--attention", "--attention-set",
    ],
    "import": ["--video", "--json"],
    "status": ["--watch", "--json"],
    "story": ["--format"],
    "search": ["-k", "--level", "--video", "--min-similarity", "--json"],
    "ask": ["--video", "--option", "--reader", "-k", "--json"],
    "redundancy": ["--all", "--json"],
    "export": ["--all", "--format", "-o"],
    "forget": [],
    "relink": [],
    "serve": [
        "--port", "--host", "--max-model-len", "--api-key-file", "--served-name", "--timeout", "--attention",
        "--dry-run",
    ],
    "doctor": ["--json"],
    "demo": [],
    "models list": ["--json"],
    "models get": ["--role", "--from", "--yes"],
    "kernels check": ["--backend", "--dtype", "--device", "--json"],
    "kernels bench": ["--out", "--shape", "--length", "--method", "--part", "--backend", "--minutes", "--json"],
    "kernels calibrate": ["--text", "--video", "--tokens", "--target", "--window", "-o", "--json"],
}  # fmt: skip


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(COMMANDS) == set(CONTRACT)


@pytest.mark.parametrize("name", CONTRACT)
def test_help_names_every_option_and_says_what_it_does(name: str) -> None:
    shown = done(*name.split(), "--help").out
    options = [one for one in COMMANDS[name].params if one.param_type_name == "option"]
    for option in options:
        assert option.help, f"{name} {option.name} has no help"
        for spelling in option.opts:
            assert spelling in shown
    for spelling in CONTRACT[name]:
        assert any(spelling in option.opts for option in options), spelling
    if name not in WITHOUT_A_LIBRARY:
        assert "--library" in shown
        assert "FDVS_LIBRARY" in shown


@pytest.mark.parametrize("name", CONTRACT)
def test_the_list_of_commands_shows_whole_sentences(name: str) -> None:
    *group, last = name.split()
    (line,) = re.findall(rf"^  {last} +(.+)$", done(*group, "--help").out, re.MULTILINE)
    assert line.endswith(".")
    assert not line.endswith("...")


@pytest.mark.parametrize("name", CONTRACT)
def test_the_readme_has_an_example(name: str) -> None:
    if name == "demo":
        assert "$ make demo" in README
    else:
        assert re.search(rf"^(?:\$ |serve/bin/)?fdvs {name}\b", README, re.MULTILINE)


def test_no_command_is_help_and_version_is_a_line() -> None:
    assert "Commands:" in fdvs().out + fdvs().err
    assert re.fullmatch(r"fdvs \d+\.\d+\.\d+\n", done("--version").out)

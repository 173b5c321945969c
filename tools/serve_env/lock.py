"""Writes requirements.txt, every file of the environment of `make test-serve` with its hash, from requirements.in.

Run it with the Python of that environment (3.11) after a change to requirements.in or to fdvs's own dependencies:

    .venv-serve/bin/python tools/serve_env/lock.py

It asks the main package index alone, and for torch a folder or an index that pip was told of, so that the hashes are
those of the published files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

LEFT_OUT = {
    "fdvs": "is installed from this folder",
    "torchaudio": "is built for CUDA on the main index: it cannot be loaded beside a torch for CPUs, and transformers "
    "imports it wherever it finds it; nothing here needs sound",
    "torchcodec": "is linked to CUDA as well and fails with an error that vLLM does not expect; vLLM then decodes "
    "video files with OpenCV, and we send pictures",
}
"""What vLLM asks for and must not get on a machine without a GPU, with the reason. torchvision, which also is built for
CUDA there, is needed and stays: `fdvs_cpu_torchvision.py` makes it importable."""

HEAD = """\
# Made by lock.py: python tools/serve_env/lock.py. For Linux on x86_64 with Python 3.11.
# To be installed with --no-deps --require-hashes: it is complete, and these are left out on purpose:
"""


def resolved() -> list[dict[str, Any]]:
    """What pip would install: one entry for each file."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-input"]
    command += ["--only-binary", ":all:", "--report", "-", "-c", "constraints.txt", "-r", str(HERE / "requirements.in")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PIP_CONFIG_FILE": os.devnull}, stdout=subprocess.PIPE, check=True
    )
    installed: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return sorted(installed, key=_name)


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"]["name"]).lower().replace("_", "-")


def lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        if _name(entry) in LEFT_OUT:
            continue
        digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        yield f"{_name(entry)}=={entry['metadata']['version']} --hash=sha256:{digest}\n"


def main() -> None:
    head = HEAD + "".join(f"#   {name} {reason}.\n" for name, reason in LEFT_OUT.items())
    (HERE / "requirements.txt").write_text(head + "".join(lines(resolved())), encoding="utf-8")


if __name__ == "__main__":
    main()

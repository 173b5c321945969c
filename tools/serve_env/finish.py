"""Completes the environment of `make test-serve` after its packages are installed, and checks it.

Run by the Python of that environment. Ends with 1 and says why where something is missing or cannot be loaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tools.serve_env.lock import LEFT_OUT  # noqa: E402

HOOK = "fdvs_cpu_torchvision"


def load_hook_at_start() -> None:
    """Put the remedy for torchvision where every Python of this environment loads it."""
    packages = Path(sysconfig.get_paths()["purelib"])
    shutil.copy(HERE / f"{HOOK}.py", packages)
    (packages / f"{HOOK}.pth").write_text(f"import {HOOK}\n", encoding="utf-8")


def missing() -> list[str]:
    """What pip finds wrong with the packages together, but for what is left out on purpose."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return []
    on_purpose = tuple(f"requires {name}, which is not installed." for name in LEFT_OUT)
    return [line for line in (found.stdout + found.stderr).splitlines() if not line.endswith(on_purpose)]


def loads() -> bool:
    """Whether what the four fixes are for can be imported, in a process of its own that has the hook."""
    code = (
        "import torchvision.transforms.v2.functional, transformers, vllm\n"
        "from transformers import Qwen2_5_VLProcessor, Qwen3VLProcessor\n"
        "import fdvs\n"
        "print('vllm', vllm.__version__, 'transformers', transformers.__version__, 'fdvs', fdvs.__version__)\n"
    )
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def main() -> int:
    load_hook_at_start()
    for line in (wrong := missing()):
        print(line, file=sys.stderr)
    return int(bool(wrong) or not loads())


if __name__ == "__main__":
    sys.exit(main())

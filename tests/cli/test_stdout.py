"""Standard output is for results, whatever a library prints."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, sys
from fdvs.cli.common import stdout_to_stderr
print("before")
with stdout_to_stderr():
    print("python inside")
    os.write(1, b"native inside\\n")
    os.system("echo child inside")
print("after")
"""


def test_what_prints_meanwhile_goes_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["before", "after"]
    assert {"python inside", "native inside", "child inside"} <= set(done.stderr.splitlines())

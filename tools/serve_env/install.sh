#!/bin/sh
# install.sh VENV [PYTHON]: makes the environment of `make test-serve` and installs every pinned file of
# requirements.txt into it. Says what is wrong with a machine that cannot have it.
set -eu
here=$(dirname "$0")
venv=$1

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "the pinned files are for Linux on x86_64, and this is $(uname -s) on $(uname -m): make test-serve cannot run" >&2
    exit 1
fi
if ! "$venv/bin/python" -c "import pip" 2>/dev/null; then
    python=$(PYTHON="${2:-python3.11 python3}" sh "$here/../find_python.sh")
    "$python" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "$venv is of $("$venv/bin/python" -V), and the pinned files are for Python 3.11. Mend it with:" >&2
    echo "  rm -r $venv && make test-serve PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# --no-deps: the list is complete, and what it leaves out must not come in.
if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --no-deps --require-hashes \
    -r "$here/requirements.txt"; then
    echo "If the package that was not found is torch: its build for CPUs is not on the main index. Tell pip where it" >&2
    echo "is, PyTorch's index of CPU builds or a folder: PIP_EXTRA_INDEX_URL=… or PIP_FIND_LINKS=… make test-serve" >&2
    exit 1
fi

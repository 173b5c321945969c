#!/bin/sh
# Prints a Python that can run fdvs (3.11 or newer, with venv), or says the one line that mends its absence.
# PYTHON names the one to use; without it the usual names are tried in turn.
set -eu

if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo "; fi

mend() {  # mend APT_PACKAGES DNF_PACKAGES
    if command -v apt-get >/dev/null 2>&1; then
        echo "${sudo}apt-get install $1"
    elif command -v dnf >/dev/null 2>&1; then
        echo "${sudo}dnf install $2"
    elif command -v brew >/dev/null 2>&1; then
        echo "brew install python@3.12"
    else
        echo "install Python 3.11 or newer, and name it: make PYTHON=/path/to/python3"
    fi
}

no_venv=""
old=""
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        old="$name is Python $version"
    elif ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
        no_venv=$version
    else
        command -v "$name"
        exit 0
    fi
done

if [ -n "$no_venv" ]; then
    echo "Python $no_venv is here, but not its venv module. Mend it with:" >&2
    echo "  $(mend "python$no_venv-venv" "python$no_venv")" >&2
elif [ -n "$old" ]; then
    echo "fdvs needs Python 3.11 or newer; $old. Mend it with:" >&2
    echo "  $(mend "python3.11 python3.11-venv" "python3.11")" >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "fdvs needs Python 3.11 or newer; $PYTHON does not run. Leave PYTHON unset, or mend it with:" >&2
    echo "  $(mend "python3 python3-venv" "python3")" >&2
else
    echo "fdvs needs Python 3.11 or newer; none was found. Mend it with:" >&2
    echo "  $(mend "python3 python3-venv" "python3")" >&2
fi
exit 1

#!/bin/sh
# step.sh NAME COMMAND...: runs the command and prints what it was, how it ended and how long it took.
set -u
name=$1
shift
echo "== $name"
start=$(date +%s)
"$@"
code=$?
seconds=$(($(date +%s) - start))
if [ "$code" -eq 0 ]; then
    echo "== $name: ok, $seconds s"
else
    echo "== $name: FAILED with exit code $code, $seconds s" >&2
fi
exit "$code"

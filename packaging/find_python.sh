#!/bin/sh
# Prints a Python that Fovea can be set up with, or says what to install.
set -u

suits='
import platform, sys
import ensurepip, venv
right = sys.version_info >= (3, 11)
# MLX has wheels for Apple silicon alone: a Python that runs translated would find none.
if sys.platform == "darwin":
    right = right and platform.machine() == "arm64"
sys.exit(not right)
'

for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
    path=$(command -v "$name") || continue
    if "$path" -c "$suits" >/dev/null 2>&1; then
        echo "$path"
        exit 0
    fi
done

{
    echo "Fovea needs Python 3.11 or newer, with its venv module, and found none."
    if [ "$(uname)" = Darwin ]; then
        echo "On a Mac with Apple silicon: brew install python@3.12, or the installer of the Python project."
    else
        echo "On Debian and Ubuntu: sudo apt-get install -y python3 python3-venv"
    fi
    echo "If you have one elsewhere: make PYTHON=/path/to/python3 ..."
} >&2
exit 1

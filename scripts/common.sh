# Shared by scripts/try and scripts/test: checks what only the system can give and makes the virtual environment.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
root=$PWD

say() { printf '\n== %s\n' "$*"; }
missing() {  # WHAT, DEBIAN PACKAGES
  printf 'powerprobe: %s is missing. On Debian or Ubuntu: sudo apt-get install %s\n' "$1" "$2" >&2
  exit 2
}

check_system() {
  command -v "${PYTHON:=python3}" >/dev/null || missing "$PYTHON" "python3 python3-venv python3-dev"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    { echo "powerprobe: $PYTHON is $("$PYTHON" -V 2>&1), but 3.10 or newer is needed; PYTHON=... names another" >&2; exit 2; }
  "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || missing "Python's module venv" python3-venv
  "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing "Python's header Python.h" python3-dev
  command -v "${CXX:-c++}" >/dev/null || missing "a C++ compiler" g++
}

# make_venv FOLDER: one that is there is used as it is.
make_venv() {
  [ -x "$1/bin/python" ] || { say "making a virtual environment in ${1#"$root"/}"; "$PYTHON" -m venv "$1"; }
}

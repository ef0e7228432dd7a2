#!/usr/bin/env bash
# The portable execution on this machine's GPU: digests of whole runs against tests/fixtures/portable_digests.json, then
# prefill and decode at Qwen3-30B-A3B's shape in AWQ and float32, compiled and portable in one process.
#
#   bash benchmarks/gpu/portable.sh [FOLDER] [PROMPT_TOKENS [digests|times]]   run FOLDER/benchmark_portable (build/bin)
#   bash benchmarks/gpu/portable.sh pack FOLDER   put the program and what it needs beside libtorch into FOLDER, to be moved
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" = pack ]; then
  mkdir -p "$2/lib"
  [ -e "$2/benchmark_portable" ] || cp "$here/build/bin/benchmark_portable" "$2/"
  ldd "$2/benchmark_portable" | awk '$3 ~ /^\// {print $3}' | grep -vE '/torch/|/nvidia/|/lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+)\.so' |
    xargs -I{} cp -L {} "$2/lib/"
  du -sh "$2"
  exit
fi
folder=$(cd "${1:-$here/build/bin}" && pwd)
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
export LD_LIBRARY_PATH=$torch/lib:$(ls -d "$torch"/../nvidia/*/lib | paste -sd:):$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-/tmp/cache}
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$folder/benchmark_portable" "$here/tests/fixtures" "$here/build/models" "${@:2}"

#!/usr/bin/env bash
# From a fresh machine to a comparison: installs what is missing, builds, and runs the experiments that one machine
# without a GPU can do, on a real language model (SmolLM2-135M-Instruct) and a real PDF (the Bash manual).
#
#   bash examples/quickstart.sh [--no-install] [--full]
#
#   --no-install   only check for what is needed, and name what is missing
#   --full         the plan's prompt of 6144 tokens (default 1024, so that it ends within minutes on two cores)
#
# Safe to run again: finished steps are skipped. Results and the report are in build/quickstart.
set -euo pipefail
cd "$(dirname "$0")/.."

tokens=1024
setup=()
for option in "$@"; do
  case $option in
    --full) tokens=6144 ;;
    --no-install) setup=(--no-install) ;;
    --help | -h) sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 0 ;;
    *) echo "quickstart.sh: unknown option $option (known: --no-install --full)" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

step "Setting up (the first time: some 5 GB from PyPI)"
bash cmake/setup.sh "${setup[@]}"
export PATH=$PWD/build/venv/bin:$PATH

step "Building"
cmake --preset release -DFPF_BUILD_TESTS=OFF >build/configure.log || { cat build/configure.log; exit 1; }
cmake --build --preset release

model=build/models/SmolLM2-135M-Instruct.Q4_1.gguf
out=build/quickstart/$tokens
mkdir -p "$out/moe"
prompt=(--prompt-pdf build/documents/bashref.pdf --prompt-tokens "$tokens")

# run <program> <file it writes> <options>...
run() {
  local file=$2
  if [ -s "$file" ]; then echo "$1: $file is there already"; return; fi
  build/bin/"$1" --resume "${@:3}" --out "$(dirname "$file")"
}

step "Experiment 0 on SmolLM2: the reference, three bit-exact repetitions"
run exp0_reference "$out/reference_baseline.json" --model "$model" "${prompt[@]}"

step "Comparing"
build/bin/compare --all --experiment-dir "$out" --output "$out/analysis_results.json"

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
cmake --build --preset release -j "$(nproc)"  # ninja's own two jobs more than cores are a fifth slower on two

model=build/models/SmolLM2-135M-Instruct.Q4_1.gguf
moe='synthetic:qwen3-moe-tiny?seed=1'
out=build/quickstart/$tokens
mkdir -p "$out/moe"
prompt=(--prompt-pdf build/documents/bashref.pdf --prompt-tokens "$tokens")
neighbours=(--neighbour-pdf build/documents/developers-reference.pdf --neighbour-pdf build/documents/valgrind_manual.pdf.gz
  --neighbour-pdf build/documents/policy.pdf.gz)

# The synthetic mixture of experts has no tokeniser: fixed sequences of 256 ids are its prompts.
moe_prompts=()
for first in 7 8 9 10 11 12 13 14; do
  ids=$out/moe/prompt_ids_$first.json
  { printf '[%d' "$first"; for ((i = 1, id = first; i < 256; i++)); do id=$(((id * 1103 + 12345) % 4096)); printf ',%d' "$id"; done; echo ']'; } >"$ids"
  moe_prompts+=(--prompt-ids "$ids")
done

# run <folder> <file it writes> <program> <options>...
run() {
  if [ -s "$1/$2" ]; then echo "$3: $1/$2 is there already"; return; fi
  "build/bin/$3" --resume --out "$1" "${@:4}"
}
fed=(--tokens baseline)  # all are fed the reference's tokens: every step has equal inputs

step "Experiment 0 on SmolLM2: the reference, three bit-exact repetitions"
run "$out" reference_baseline.json exp0_reference --model "$model" "${prompt[@]}"

step "Experiments 1, 2, 4 and 5 on SmolLM2: batch size, compilation, attention, a contended device"
run "$out" batch_size_experiment.json exp1_batch_size --model "$model" "${prompt[@]}" "${fed[@]}" "${neighbours[@]}"
run "$out" compile_experiment.json exp2_compile --model "$model" "${prompt[@]}" "${fed[@]}"
run "$out" attention_experiment.json exp4_attention --model "$model" "${prompt[@]}" "${fed[@]}"
run "$out" concurrent_streams_experiment.json exp5_concurrent_streams --model "$model" "${prompt[@]}" "${fed[@]}"

step "Experiments 3, 7 and 8 on a small synthetic mixture of experts, eight prompts: quantisation, tensor and expert parallelism"
run "$out/moe" reference_baseline.json exp0_reference --model "$moe&quant=awq" "${moe_prompts[@]}"
on_moe=("${moe_prompts[@]}" "${fed[@]}" --baseline "$out/moe/reference_baseline.json" --model "$moe&quant=awq")
run "$out" quantization_experiment.json exp3_quantization "${on_moe[@]}" --model-gptq "$moe&quant=gptq" \
  --model-bnb "$moe&quant=nf4"
run "$out" tensor_parallel_experiment.json exp7_tensor_parallel "${on_moe[@]}"
run "$out" expert_parallel_experiment.json exp8_expert_parallel "${on_moe[@]}"

step "Comparing"
build/bin/compare --all --experiment-dir "$out" --output "$out/analysis_results.json" --report "$out/report"
echo "The report is $out/report/index.html"

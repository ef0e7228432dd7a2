#!/usr/bin/env bash
# Experiments 0, 1, 2, 4 and 5 at the plan's size on one GPU: Qwen3-30B-A3B's shape, 6144 tokens, 30 steps, signals of all
# 48 layers, ten repetitions of the reference and of the compiled step. Prints times, and the GPU's memory at its fullest.
#
#   bash benchmarks/gpu/experiments.sh [FOLDER_OF_PROGRAMS] [awq gptq nf4]
#
# LD_LIBRARY_PATH must lead to libtorch's libraries where the programs were moved.
set -euo pipefail
bin=$(cd "${1:-build/bin}" && pwd)
formats=("${@:2}")
[ ${#formats[@]} -gt 0 ] || formats=(awq gptq nf4)
work=$(mktemp -d)
trap 'kill $watch 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 20 >memory & watch=$!

# Prompts without a tokeniser: sequences of pseudo-random ids.
python3 - <<'P'
import json, random
for i in range(4):
    draw = random.Random(i + 10)
    json.dump([draw.randrange(3, 151936) for _ in range(6144)], open(f"ids{i}.json", "w"))
P
neighbours=(--neighbour-ids ids1.json --neighbour-ids ids2.json --neighbour-ids ids3.json)
layers=$(seq -s, 0 47)

# run <format> <program> <file it writes> <options>...
run() {
  local start=$SECONDS
  "$bin/$2" --model "synthetic:qwen3-30b-a3b?seed=1&quant=$1" --dtype bfloat16 --prompt-ids ids0.json --layers "$layers" \
    --out "$1" --quiet "${@:4}"
  echo "$1 $2: $((SECONDS - start)) s with loading"
  python3 - "$1/$3" <<'P'
import json, sys
file = json.load(open(sys.argv[1]))
for run in file["runs"][-2 if "batch_size" in sys.argv[1] else -1:]:
    time, seconds = run["runtime"], sorted(run["runtime"]["seconds"])
    decode = time["decode_seconds"] / 30
    print(f"  {run['config_id']}: bit-exact {run['reproducibility']['bit_exact']} in {run['reproducibility']['repetitions']}, "
          f"a repetition {seconds[len(seconds) // 2]:.3f} s (median), a step {1e3 * decode:.2f} ms, "
          f"prefill {seconds[len(seconds) // 2] - 30 * decode:.3f} s, "
          f"{run.get('peak_device_memory_bytes', 0) / 1e9:.2f} GB at most")
    if "contention" in run:
        print("  ", {k: v for k, v in run["contention"].items() if k != "run_passes"})
P
}
for format in "${formats[@]}"; do
  run "$format" exp0_reference reference_baseline.json --reps 10
  run "$format" exp2_compile compile_experiment.json --reps 10
  if [ "$format" = "${formats[0]}" ]; then
    run "$format" exp1_batch_size batch_size_experiment.json "${neighbours[@]}"
    run "$format" exp4_attention attention_experiment.json
    run "$format" exp5_concurrent_streams concurrent_streams_experiment.json
  fi
done
echo "the GPU's memory at its fullest: $(sort -n memory | tail -n 1) MiB"

#!/usr/bin/env bash
# Experiments 7 and 8 at the plan's size on several GPUs: Qwen3-30B-A3B's shape in AWQ, 6144 tokens, 30 steps, three
# repetitions; real ranks beside emulated ones, eager and compiled, threads beside processes. Prints times and digests.
#
#   bash benchmarks/gpu/ranks.sh [FOLDER_OF_PROGRAMS] [RANKS...]       (build/bin 2)
#
# LD_LIBRARY_PATH must lead to libtorch's libraries where the programs were moved.
set -euo pipefail
bin=$(cd "${1:-build/bin}" && pwd)
sizes=("${@:2}")
[ ${#sizes[@]} -gt 0 ] || sizes=(2)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
for size in "${sizes[@]}"; do
  "$bin/collectives" "$size"
  python3 -m torch.distributed.run --nproc-per-node "$size" "$here/collectives.py" 2>/dev/null
done

python3 - <<'P'
import json, random
draw = random.Random(10)
json.dump([draw.randrange(3, 151936) for _ in range(6144)], open("ids.json", "w"))
P
shared=(--model "synthetic:qwen3-30b-a3b?seed=1&quant=awq" --dtype bfloat16 --prompt-ids ids.json)
list=$(IFS=,; echo "${sizes[*]}")

# report <file>: one line a configuration.
report() {
  python3 - "$1" <<'P'
import json, sys
path = sys.argv[1]
file = json.load(open(path))
configurations = {c["config_id"]: c for c in file["configurations"]}
for run in file["runs"]:
    time, seconds = run["runtime"], run["runtime"]["seconds"]
    manifest = configurations[run["config_id"]]["manifest"]
    print(f"  {path} {run['config_id']}: bit-exact {run['reproducibility']['bit_exact']} in "
          f"{run['reproducibility']['repetitions']}, prefill {time['prefill_seconds']:.4f} s, "
          f"step {1e3 * time['decode_seconds'] / 30:.3f} ms (means), digest {run['signals_sha256'][:16]}, "
          f"weights a rank {[round(r['weight_bytes'] / 1e9, 3) for r in manifest['ranks']]} GB")
P
}

for execution in compiled eager; do
  "$bin/exp0_reference" "${shared[@]}" --execution $execution --out "$execution" --quiet
  for more in "" "--emulate"; do
    kind=$execution${more:+-emulated}
    own=("${shared[@]}" --execution $execution --baseline "$execution/reference_baseline.json" --out "$kind" $more)
    "$bin/exp7_tensor_parallel" "${own[@]}" --tp "$list" --quiet
    report "$kind/tensor_parallel_experiment.json"
    for placement in contiguous round_robin; do
      "$bin/exp8_expert_parallel" "${own[@]}" --ep "$list" --placement $placement --out "$kind-$placement" --quiet
      report "$kind-$placement/expert_parallel_experiment.json"
    done
  done
done
for size in "${sizes[@]}"; do  # the same ranks as processes
  python3 -m torch.distributed.run --no-python --nproc-per-node "$size" "$bin/exp7_tensor_parallel" "${shared[@]}" \
    --execution compiled --baseline compiled/reference_baseline.json --out "processes$size" --quiet
  report "processes$size/tensor_parallel_experiment.json"
done
"$bin/compare" compiled/tensor_parallel_experiment.json --signal all || true
"$bin/compare" compiled-contiguous/expert_parallel_experiment.json --signal all || true
"$bin/compare" compiled-round_robin/expert_parallel_experiment.json --signal all || true

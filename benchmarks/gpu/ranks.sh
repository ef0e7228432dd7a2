#!/usr/bin/env bash
# Experiments 7 and 8 at the plan's size on several GPUs: Qwen3-30B-A3B's shape in AWQ, 6144 tokens, 30 steps, signals
# of all 48 layers, ten repetitions; real ranks beside emulated ones, eager and compiled, threads beside processes. Prints times and digests.
#
#   bash benchmarks/gpu/ranks.sh [FOLDER_OF_PROGRAMS] [RANKS...]       (build/bin 2)
#
# With KEEP=FOLDER the experiment files stay there.
#
# LD_LIBRARY_PATH must lead to libtorch's libraries where the programs were moved.
set -euo pipefail
bin=$(cd "${1:-build/bin}" && pwd)
sizes=("${@:2}")
[ ${#sizes[@]} -gt 0 ] || sizes=(2)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap '[ -z "${KEEP:-}" ] || cp -r "$work"/. "$KEEP"; rm -rf "$work"' EXIT
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
shared+=(--reps 10 --layers "$(seq -s, 0 47)")

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
    step, median = time["decode_seconds"] / 30, sorted(seconds)[len(seconds) // 2]
    print(f"  {path} {run['config_id']}: bit-exact {run['reproducibility']['bit_exact']} in "
          f"{run['reproducibility']['repetitions']}, a repetition {median:.3f} s (median), a step {1e3 * step:.3f} ms, "
          f"prefill {median - 30 * step:.3f} s, digest {run['signals_sha256'][:16]}, "
          f"weights a rank {[round(r['weight_bytes'] / 1e9, 3) for r in manifest['ranks']]} GB")
P
}

# quietly <command>...: its last words only where it fails.
quietly() { "$@" >log 2>&1 || { tail -n 5 log; return 1; }; }

for execution in compiled eager; do
  quietly "$bin/exp0_reference" "${shared[@]}" --execution $execution --out "$execution"
  for more in "" "--emulate"; do
    kind=$execution${more:+-emulated}
    own=("${shared[@]}" --execution $execution --baseline "$execution/reference_baseline.json" $more)
    quietly "$bin/exp7_tensor_parallel" "${own[@]}" --tp "$list" --out "$kind"
    report "$kind/tensor_parallel_experiment.json"
    [ $execution = compiled ] || continue
    for placement in contiguous round_robin; do
      quietly "$bin/exp8_expert_parallel" "${own[@]}" --ep "$list" --placement $placement --out "$kind-$placement"
      report "$kind-$placement/expert_parallel_experiment.json"
    done
  done
done
for size in "${sizes[@]}"; do  # the same ranks as processes
  quietly python3 -m torch.distributed.run --no-python --nproc-per-node "$size" "$bin/exp7_tensor_parallel" \
    "${shared[@]}" --execution compiled --baseline compiled/reference_baseline.json --out "processes$size"
  report "processes$size/tensor_parallel_experiment.json"
done
for file in compiled/tensor_parallel compiled-contiguous/expert_parallel compiled-round_robin/expert_parallel; do
  "$bin/compare" ${file}_experiment.json --signal all --layer all | grep -E "differ first|(hidden|key).* layer (0|1|2|47) "
done

#!/usr/bin/env python3
"""Experiment 0 beside Hugging Face transformers on one machine: the same SmolLM2 in float32, prompt and threads.

    python benchmarks/cpu/compare_transformers.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out result.json

Needs torch==2.11.0 transformers==5.17.0 gguf==0.19.0 numpy, and a release build of exp0_reference.

The two take turns, each run in a process of its own: `--rounds` times transformers (SDPA attention, its default; one
prefill with logits for the last position, then greedy decode against its KV cache), then `exp0_reference --reps 1`,
which also captures and writes its evidence. Both must produce the same tokens, up to the first choice that rounding may
decide. Times are the medians over the rounds, with the smallest and largest; memory is the largest resident set of the
whole process, loading included. What counts is the ratio of medians within the run: absolute times hold for this
machine alone, and where other work took more than a tenth of a core they do not hold at all: the report says so.
"""
import argparse
import datetime
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def convert(gguf_file, folder):
    """Writes the dequantised model as a Hugging Face directory, so that transformers loads it in its usual way."""
    sys.path.insert(0, str(ROOT / "tests" / "model" / "fixtures"))
    import gguf
    import make_smollm2
    make_smollm2.load_model(gguf.GGUFReader(gguf_file)).save_pretrained(folder)


def measure_transformers(folder, prompt_file, steps, threads, result_file):
    import torch
    import transformers
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    feed = torch.tensor([json.loads(pathlib.Path(prompt_file).read_text())])
    cache, seconds, tokens, gaps = None, [], [], []
    with torch.inference_mode():
        model(feed[:, :16])  # the libraries' first-call set-up is not what is measured
        for _ in range(steps + 1):
            start = time.perf_counter()
            out = model(feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, feed = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
            tokens.append(int(feed))
            seconds.append(time.perf_counter() - start)
            best = out.logits[0, -1].topk(2).values
            gaps.append(float(best[0] - best[1]))
    pathlib.Path(result_file).write_text(json.dumps({
        "prefill_s": seconds[0], "decode_s_per_token": statistics.fmean(seconds[1:]),
        "tokens": tokens[:steps], "gaps": gaps[:steps],
        "attention": model.config._attn_implementation, "parameters": sum(p.numel() for p in model.parameters()),
        "kv_bytes": sum(x.nbytes for layer in cache.layers for x in (layer.keys, layer.values)),
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__}}))


def busy_seconds():
    """Processor time that the whole machine has spent, all cores together."""
    user, nice, system = map(int, pathlib.Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def run(command):
    """Runs to the end; the peak resident set (a child's starts at ours: import nothing large here), others' cores."""
    busy, start = busy_seconds(), time.perf_counter()
    process = subprocess.Popen([str(x) for x in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}:\n{errors}")
    others = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
    return {"peak_bytes": usage.ru_maxrss * 1024,
            "cores_used_by_others": round(max(0.0, others) / (time.perf_counter() - start), 2)}


def measure_fpf(args, prompt_file, folder):
    usage = run([args.exp0, "--model", args.model, "--prompt-ids", prompt_file, "--device", "cpu", "--dtype", "float32",
                 "--decode-steps", args.decode_steps, "--threads", args.threads, "--reps", 1, "--quiet",
                 "--out", folder])
    file = json.loads((folder / "reference_baseline.json").read_text())
    one, = file["runs"]
    value = lambda name: statistics.fmean(x) if isinstance(x := one["runtime"][name], list) else x
    return {"prefill_s": value("prefill_seconds"), "decode_s_per_token": value("decode_seconds") / args.decode_steps,
            "tokens": [step["token_id"] for step in one["decode_steps"]],
            "manifest": file["configurations"][0]["manifest"]} | usage


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def spread(rounds, name):
    values = [r[name] for r in rounds]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a GGUF file of SmolLM2")
    parser.add_argument("--exp0", default=ROOT / "build" / "bin" / "exp0_reference")
    parser.add_argument("--prompt-tokens", type=int, default=2048)
    parser.add_argument("--decode-steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transformers-only", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, help="where the JSON goes")
    args = parser.parse_args()
    if not args.transformers_only and not pathlib.Path(args.exp0).is_file():
        sys.exit(f"{args.exp0} does not exist: build it, or name one with --exp0")

    runs = {"transformers": []} if args.transformers_only else {"transformers": [], "fpf": []}
    with tempfile.TemporaryDirectory(prefix="fpf_benchmark_") as scratch:
        scratch = pathlib.Path(scratch)
        prompt, answer = scratch / "prompt.json", scratch / "answer.json"
        prompt.write_text(json.dumps(random.Random(1).choices(range(100, 49000), k=args.prompt_tokens)))
        this = [sys.executable, __file__]
        run(this + ["--worker", "convert", args.model, scratch / "model"])
        for i in range(args.rounds):
            usage = run(this + ["--worker", "measure", scratch / "model", prompt, args.decode_steps, args.threads,
                                answer])
            runs["transformers"].append(json.loads(answer.read_text()) | usage)
            if "fpf" in runs:
                runs["fpf"].append(measure_fpf(args, prompt, scratch))
            print(f"round {i + 1} of {args.rounds}: " + ", ".join(
                f"{who} {r[-1]['prefill_s']:.2f} s + {r[-1]['decode_s_per_token'] * 1e3:.1f} ms/token"
                for who, r in runs.items()), file=sys.stderr, flush=True)
    report(args, runs)


def report(args, runs):
    first = runs["transformers"][0]
    allowed = 4 * first["parameters"] + first["kv_bytes"] + 2**30
    result = {"date": datetime.date.today().isoformat(), "processor": processor(), "threads": args.threads,
              "prompt_tokens": args.prompt_tokens, "decode_steps": args.decode_steps, "rounds": args.rounds,
              "versions": first["versions"], "attention": first["attention"],
              "weights_kv_and_1_GiB_bytes": allowed,
              "manifest": [r.pop("manifest") for r in runs.get("fpf", [])][-1:],
              "summary": {who: {m: spread(r, m) for m in ("prefill_s", "decode_s_per_token", "peak_bytes")}
                          for who, r in runs.items()}, "runs": runs}
    clear = next((i for i, gap in enumerate(first["gaps"]) if gap < 1e-3), args.decode_steps)
    same = all(r["tokens"][:clear] == first["tokens"][:clear] for rounds in runs.values() for r in rounds)
    result |= {"same_tokens": same, "tokens_compared": clear}
    if "fpf" in runs:
        summary = result["summary"]
        result["ratio"] = {m: summary["fpf"][m]["median"] / summary["transformers"][m]["median"]
                           for m in summary["fpf"]}
    print(f"{result['processor']}, {args.threads} threads, float32, {args.prompt_tokens}-token prompt, "
          f"{args.decode_steps} steps, median of {args.rounds} (smallest to largest)\n")
    print("| | " + " | ".join(runs) + (" | fpf / transformers |" if "fpf" in runs else " |"))
    print("| --- |" + " --- |" * (len(runs) + ("fpf" in runs)))
    rows = {"prefill_s": ("prefill", "s", 1), "decode_s_per_token": ("decode per token", "ms", 1e3),
            "peak_bytes": ("peak memory", "MiB", 2**-20)}
    for metric, (label, unit, scale) in rows.items():
        cells = [label]
        for who in runs:
            s = {k: f"{x * scale:.4g}" for k, x in result["summary"][who][metric].items()}
            cells.append(f"{s['median']} {unit} ({s['min']} to {s['max']})")
        if "ratio" in result:
            cells.append(f"{result['ratio'][metric]:.2f}")
        print("| " + " | ".join(cells) + " |")
    print(f"\nsame first {clear} tokens: {'yes' if same else 'NO'}; "
          f"weights + KV cache + 1 GiB: {allowed / 2**20:.0f} MiB")
    others = max(r["cores_used_by_others"] for rounds in runs.values() for r in rounds)
    if others > 0.1:
        print(f"NOT A MEASUREMENT: other work used up to {others:.1f} cores meanwhile; run it on a quiet machine")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    if not same:
        sys.exit("the tokens differ, so the two did not compute the same thing")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        if sys.argv[2] == "convert":
            convert(*sys.argv[3:])
        else:
            folder, prompt, steps, threads, answer = sys.argv[3:]
            measure_transformers(folder, prompt, int(steps), int(threads), answer)
    else:
        main()

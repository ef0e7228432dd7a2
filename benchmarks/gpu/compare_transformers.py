#!/usr/bin/env python3
"""The engine beside Hugging Face transformers on one GPU, at Qwen3-30B-A3B's shape and with random weights.

    python benchmarks/gpu/compare_transformers.py --exp0 build/bin/exp0_reference --out result.json

transformers has no fast 4-bit experts, so it runs in bfloat16 (its weights take 61 GB); fpf runs 4-bit AWQ, eager. What
both have in common is the shape, the 6144-token prompt and greedy decoding; transformers repeats three times, fpf ten
(at least), since its first repetitions set up what transformers does in one that is not counted. Times are transformers'
by the host clock around synchronised steps and fpf's as its experiment file has them, medians over the repetitions; the
logits of transformers' repetitions are compared bit for bit. Where Python has no transformers, only fpf is run.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "synthetic:qwen3-30b-a3b?seed=1&quant=awq"


def measure_transformers(args):
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"transformers is not measured: {error}", file=sys.stderr)
        return None
    if not torch.cuda.is_available():
        print("transformers is not measured: torch finds no GPU", file=sys.stderr)
        return None
    config = transformers.Qwen3MoeConfig(
        hidden_size=2048, num_attention_heads=32, num_key_value_heads=4, head_dim=128, num_hidden_layers=args.layers,
        moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8, norm_topk_prob=True, vocab_size=151936,
        rope_theta=1e6, max_position_embeddings=40960, tie_word_embeddings=False, dtype="bfloat16")
    config._attn_implementation = args.attention
    config._experts_implementation = "grouped_mm"
    torch.manual_seed(1)
    with torch.device("cuda"), torch.inference_mode():
        torch.set_default_dtype(torch.bfloat16)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        prompt = torch.randint(100, 150000, (1, args.prompt_tokens))

    def repetition():
        cache, feed, seconds, logits = None, prompt, [], []
        for _ in range(args.decode_steps + 1):
            torch.cuda.synchronize()
            start = time.perf_counter()
            out = model(feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, feed = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            logits.append(out.logits.clone())
        return seconds, torch.cat(logits)

    with torch.inference_mode():
        repetition()  # what libraries set up at their first call is not what is measured
        runs = [repetition() for _ in range(args.reps)]
    same = [bool((logits == runs[0][1]).all()) for _, logits in runs]
    return {"prefill_s": statistics.median(s[0] for s, _ in runs),
            "decode_s_per_token": statistics.median(x for s, _ in runs for x in s[1:]),
            "repetitions_bit_exact": all(same), "attention": args.attention, "dtype": "bfloat16",
            "device": torch.cuda.get_device_name(), "torch": torch.__version__,
            "transformers": transformers.__version__}


def measure_fpf(args):
    with tempfile.TemporaryDirectory(prefix="fpf_benchmark_") as scratch:
        prompt = pathlib.Path(scratch) / "prompt.json"
        prompt.write_text(json.dumps([100 + 7919 * i % 149000 for i in range(args.prompt_tokens)]))
        command = [args.exp0, "--model", args.model, "--dtype", "bfloat16", "--device", "cuda", "--prompt-ids", prompt, "--decode-steps",
                   args.decode_steps, "--reps", max(args.reps, 10), "--quiet", "--out", scratch]
        done = subprocess.run([str(x) for x in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 3):
            sys.exit(f"{args.exp0} ended with {done.returncode}:\n{done.stderr}")
        file = json.loads((pathlib.Path(scratch) / "reference_baseline.json").read_text())
    runtime = file["runs"][0]["runtime"]
    # The first repetitions set libraries up: the mean over all has that in the prefill's time, the median of ten not.
    decode = runtime["decode_seconds"]
    return {"prefill_s": statistics.median(runtime["seconds"]) - decode,
            "decode_s_per_token": decode / args.decode_steps,
            "repetitions_bit_exact": done.returncode == 0, "model": args.model,
            "manifest": file["configurations"][0]["manifest"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exp0", default=ROOT / "build" / "bin" / "exp0_reference")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--prompt-tokens", type=int, default=6144)
    parser.add_argument("--decode-steps", type=int, default=30)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--layers", type=int, default=48, help="of the model that transformers runs")
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa", help="transformers'")
    parser.add_argument("--out", type=pathlib.Path, help="where the JSON goes")
    args = parser.parse_args()
    if not pathlib.Path(args.exp0).is_file():
        sys.exit(f"{args.exp0} does not exist: build it, or name one with --exp0")
    # fpf in a process of its own, first: transformers keeps its memory to the end.
    result = {"date": datetime.date.today().isoformat(), "prompt_tokens": args.prompt_tokens,
              "decode_steps": args.decode_steps, "repetitions": args.reps,
              "fpf": measure_fpf(args), "transformers": measure_transformers(args)}
    columns = [name for name in ("fpf", "transformers") if result[name] is not None]
    if len(columns) == 2:
        result["times_faster"] = {m: result["transformers"][m] / result["fpf"][m]
                                  for m in ("prefill_s", "decode_s_per_token")}
    print("| | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    for label, show in {"prefill": lambda r: f"{r['prefill_s']:.3f} s",
                        "decode per token": lambda r: f"{r['decode_s_per_token'] * 1e3:.2f} ms",
                        "repetitions bit-exact": lambda r: "yes" if r["repetitions_bit_exact"] else "no"}.items():
        print(f"| {label} | " + " | ".join(show(result[name]) for name in columns) + " |")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

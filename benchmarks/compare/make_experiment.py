#!/usr/bin/env python3
"""Writes an experiment file of about a given size, in the shape and with the values that fpf's drivers write.

    python make_experiment.py OUT.json --megabytes 200 [--name batch_size] [--hardware A100-80GB,H100] [--values 1,2]
                              [--repetitions 1] [--seed 0]

Values are bfloat16 (log-probabilities float32), printed as shortest decimals. A configuration is the shared signal, a
shift that its value shares on all hardware, and bfloat16-sized noise of its own; the 30 x 3 layout repeats the unique
rows. The size is reached with more layers.
"""
import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

HIDDEN, KEYS, TOP_K, STEPS = 2048, 512, 10, 30


def bfloat16(values):
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)


def row_text(values):
    return "[" + ",".join(np.format_float_positional(v, trim="-") if v == 0 or 1e-4 <= abs(v) < 1e9
                          else np.format_float_scientific(v, trim="-", exp_digits=2) for v in values) + "]"


class Texts:
    """Decimal text of bfloat16 values by their upper 16 bits: one conversion each, ever."""

    def __init__(self):
        self.known = {}

    def row(self, values):
        known = self.known
        parts = []
        for bits, value in zip((values.view(np.uint32) >> 16).tolist(), values):
            text = known.get(bits)
            if text is None:
                text = known[bits] = row_text([value])[1:-1]
            parts.append(text)
        return "[" + ",".join(parts) + "]"


def run_time(seconds):
    return {"seconds": seconds, "mean": float(np.mean(seconds)), "variance": float(np.var(seconds))}


def write_run(out, texts, config_id, repetition, layers, shift, noise, seed, prompt):
    rng = np.random.default_rng(seed)
    rows, digests = {}, {name: hashlib.sha256() for name in ("hidden_states", "key_vectors", "logprobs", "router")}
    for signal, width in (("hidden_states", HIDDEN), ("key_vectors", KEYS)):
        for layer in layers:
            shared = np.random.default_rng([len(signal), layer]).standard_normal((STEPS + 2, width)).astype(np.float32)
            changed = np.random.default_rng([len(signal), layer, shift]).standard_normal(shared.shape).astype(np.float32)
            own = rng.standard_normal(shared.shape).astype(np.float32)
            value = bfloat16(shared * (1 + noise * (2 * (shift > 0) * changed + own)))
            rows[signal, layer] = [texts.row(v) for v in value]
            digests[signal].update((value.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    logprobs = []
    for position in range(STEPS + 2):
        base = np.random.default_rng([99, position])
        ids = base.permutation(151936)[:TOP_K]
        values = np.sort(-base.exponential(4, TOP_K) + noise * rng.standard_normal(TOP_K))[::-1].astype(np.float32)
        digests["logprobs"].update(ids.astype(np.int32).tobytes() + values.tobytes())
        logprobs.append('{"token_ids":[%s],"log_probs":%s}' % (",".join(map(str, ids)), row_text(values)))
    digests = {name: one.hexdigest() for name, one in digests.items()}
    head = {"config_id": config_id, "rep_id": repetition, "timestamp": "2025-11-01 00:00:00", "runtime_seconds": 12.5,
            "status": "complete", "runtime": run_time([12.4 + 0.1 * noise, 12.5, 12.6]),
            "reproducibility": {"repetitions": 3, "bit_exact": True, "digests": [{"rep_id": i, **digests} for i in range(3)],
                                "first_difference": None},
            "signals_sha256": hashlib.sha256("".join(digests.values()).encode()).hexdigest(),
            "prompt_sha256": hashlib.sha256(np.arange(6144, dtype=np.int32).tobytes()).hexdigest(), "prompt_text": prompt,
            "prompt_token_ids": list(range(6144))}
    out.write(json.dumps(head)[:-1] + ',"decode_steps":[')
    for step in range(STEPS):
        out.write("," if step else "")
        out.write('{"step":%d,"token_id":%d,"token_text":" the","absolute_position":%d' % (step, 1000 + step, 6144 + step))
        for signal in ("hidden_states", "key_vectors"):
            out.write(',"%s":{' % signal)
            for i, layer in enumerate(layers):
                out.write('%s"layer_%d":{' % ("," if i else "", layer))
                out.write(",".join('"pos_-%d":%s' % (back, rows[signal, layer][step + 3 - back]) for back in (3, 2, 1)))
                out.write("}")
            out.write("}")
        out.write(',"logprobs":{' + ",".join('"pos_-%d":%s' % (b, logprobs[step + 3 - b]) for b in (3, 2, 1)) + "}}\n")
    out.write("]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--name", default="batch_size")
    parser.add_argument("--hardware", default="A100-80GB,H100")
    parser.add_argument("--values", default="1,2")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hardware, values = options.hardware.split(","), [json.loads(v) for v in options.values.split(",")]
    runs = len(hardware) * len(values) * options.repetitions
    per_layer = (HIDDEN + KEYS) * STEPS * 3 * 9.4  # bytes of text of one layer of one run
    count = max(1, round(options.megabytes * 1e6 / runs / per_layer))
    layers = [47 - (count - 1 - i) * 47 // max(1, count - 1) for i in range(count)] if count <= 48 else list(range(count))
    texts = Texts()
    prompt = "The quick brown fox jumps over the lazy dog. " * 600
    configurations = [{"config_id": f"{h}_{options.name}{v}", "hardware": h, "provider": "none", "variable_value": v,
                       "baseline": v == values[0], "torch_version": "2.11.0", "fixed_params": {}}
                      for h in hardware for v in values]
    metadata = {"experiment_type": options.name, "variable_tested": options.name, "model": "Qwen3-30B-A3B",
                "architecture": "MoE", "sequence_length": 6174, "decode_steps": STEPS,
                "extraction_config": {"layers": layers, "positions": [-3, -2, -1], "hidden_dim": HIDDEN, "key_dim": KEYS,
                                      "top_k_logprobs": TOP_K,
                                      "signal_dtypes": {"hidden_states": "bfloat16", "key_vectors": "bfloat16",
                                                        "logprobs": "float32"}}}
    with options.out.open("w") as out:
        out.write('{"experiment_metadata":%s,\n"configurations":%s,\n"runs":[' % (json.dumps(metadata),
                                                                                  json.dumps(configurations)))
        first = True
        for index, configuration in enumerate(configurations):
            for repetition in range(options.repetitions):
                out.write("\n" if first else ",\n")
                first = False
                write_run(out, texts, configuration["config_id"], repetition if options.repetitions > 1 else 2, layers,
                          index % len(values), 0.003, [options.seed, index], prompt)
        out.write("]}\n")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {len(layers)} layers, {runs} runs")


if __name__ == "__main__":
    main()

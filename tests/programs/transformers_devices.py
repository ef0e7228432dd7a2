#!/usr/bin/env python3
"""How far transformers' own CUDA and CPU runs of one model are apart, by layer: what fpf's distance is judged by.

    make_checkpoint --preset qwen3-moe-tiny --quant none --dtype bfloat16 --to tiny
    python3 transformers_devices.py tiny

Run by hand on a GPU machine, with torch 2.11.0 and transformers 5.17.0; on_gpu.cpp has the numbers that it gave.
The prompt is the one of that test: 256 ids of a fixed sequence. Greedy decode of 30 steps; positions up to the first token
that differs are compared: the last two of the prompt, then one a step.
"""
import sys

import torch
from transformers import AutoModelForCausalLM

steps = 30
prompt = [7]
while len(prompt) < 256:
    prompt.append((prompt[-1] * 1103 + 12345) % 4096)


def run(folder, device):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa")
    model = model.to(device).eval()
    rows, tokens = [], []

    def keep(out, count):
        rows.extend([[h[0, i].float().cpu() for h in out.hidden_states[1:-1]] for i in range(-count, 0)])

    with torch.inference_mode():
        out = model(torch.tensor([prompt], device=device), use_cache=True, output_hidden_states=True)
        keep(out, 2)
        for _ in range(steps):
            tokens.append(int(out.logits[0, -1].argmax()))
            out = model(torch.tensor([[tokens[-1]]], device=device), past_key_values=out.past_key_values,
                        use_cache=True, output_hidden_states=True)
            keep(out, 1)
    return rows, tokens


def ordered(x):
    bits = x.bfloat16().view(torch.int16).int()
    return torch.where(bits < 0, -(bits & 0x7FFF), bits)


def main():
    (a, tokens_a), (b, tokens_b) = run(sys.argv[1], "cuda"), run(sys.argv[1], "cpu")
    same = next((i for i, (x, y) in enumerate(zip(tokens_a, tokens_b)) if x != y), steps)
    print(torch.cuda.get_device_name(), "same tokens:", same)
    for layer in range(len(a[0])):
        x, y = (torch.stack([row[layer] for row in rows[: 2 + same]]) for rows in (a, b))
        relative = (x - y).norm(dim=1) / y.norm(dim=1)
        near = ((ordered(x) - ordered(y)).abs() <= 1).float().mean()
        print(f"layer {layer}: relative L2 mean {relative.mean():.5f}, within 1 ulp {near:.4f}")


if __name__ == "__main__":
    main()

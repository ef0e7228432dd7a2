#!/usr/bin/env python3
"""Edits evidence as a forger would, for tests of verify.

    python3 forge_evidence.py IN.json OUT.json CHANGE [ARGUMENT...] [--resign]

CHANGE:
  element RUN STEP SIGNAL LAYER ULPS  the first number of pos_-1's row, wherever its position stands
  element_once RUN STEP SIGNAL LAYER ULPS  there alone, not where other steps repeat the position
  token RUN STEP                      another token is fed: the second most probable one
  swap RUN STEP                       the same, and the log-probabilities before it say so
  logprob RUN STEP                    the best log-probability of pos_-1 becomes positive
  prompt RUN INDEX                    a prompt token is another one
  text RUN WORD OTHER                 a word of prompt_text is another one
  position RUN STEP                   absolute_position is one more
  member POINTER JSON                 any member, by JSON pointer
  round RUN                           hidden states are rounded to 6 bits behind the point
  truncate STEPS                      all runs end after so many steps
  non_finite RUN STEP                 the run says that it ended in no number there, and has the steps before it
  graft OTHER.json RUN                the first run's numbers are those of OTHER's run RUN
With --resign digests and prompt_sha256 are made to fit. Written from formats.md; uses check_evidence.py's digests.
"""
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
from check_evidence import Check, sha256, pack, unpack  # noqa: E402


def next_value(dtype, value, ulps):
    size, letter = (4, "i") if dtype == "float32" else (2, "h")
    bits = struct.unpack(f"<{letter}", pack(dtype, [value]))[0]
    moved = bits + ulps
    return unpack(dtype, struct.pack(f"<{letter}", moved))[0]


def element(data, run, step, signal, layer, ulps, once=False):
    steps = data["runs"][int(run)]["decode_steps"]
    dtype = data["experiment_metadata"]["extraction_config"]["signal_dtypes"][signal]
    position = int(step)
    for number, one in enumerate(steps):
        for back in (1, 2, 3):
            if number + 1 - back == position and (not once or back == 1):
                row = one[signal][f"layer_{layer}"][f"pos_-{back}"]
                row[0] = next_value(dtype, row[0], int(ulps))


def swap(data, run, step, logprobs=True):
    steps = data["runs"][int(run)]["decode_steps"]
    step = int(step)
    before = steps[step - 1]["logprobs"]["pos_-1"]
    steps[step]["token_id"] = before["token_ids"][1]
    if not logprobs:
        return
    for number, one in enumerate(steps):
        for back in (1, 2, 3):
            if number + 1 - back == step - 1:
                ids = one["logprobs"][f"pos_-{back}"]["token_ids"]
                ids[0], ids[1] = ids[1], ids[0]


def resign(data):
    dtypes = data["experiment_metadata"]["extraction_config"]["signal_dtypes"]
    for run in data["runs"]:
        ids = run["prompt_token_ids"]
        run["prompt_sha256"] = sha256(struct.pack(f"<{len(ids)}i", *ids))
        found = Check("", run, dtypes).digests()
        for one in run["reproducibility"]["digests"]:
            one.update(found)
        run["signals_sha256"] = sha256("".join(found.values()).encode())


def change(data, what, *args):
    if what == "element":
        element(data, *args)
    elif what == "element_once":
        element(data, *args, once=True)
    elif what == "token":
        swap(data, *args, logprobs=False)
    elif what == "swap":
        swap(data, *args)
    elif what == "logprob":
        data["runs"][int(args[0])]["decode_steps"][int(args[1])]["logprobs"]["pos_-1"]["log_probs"][0] = 0.5
    elif what == "prompt":
        ids = data["runs"][int(args[0])]["prompt_token_ids"]
        ids[int(args[1])] = (ids[int(args[1])] + 1) % 400
    elif what == "text":
        run = data["runs"][int(args[0])]
        assert args[1] in run["prompt_text"]
        run["prompt_text"] = run["prompt_text"].replace(args[1], args[2], 1)
    elif what == "position":
        data["runs"][int(args[0])]["decode_steps"][int(args[1])]["absolute_position"] += 1
    elif what == "member":
        *path, last = args[0].strip("/").split("/")
        at = data
        for name in path:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[int(last) if isinstance(at, list) else last] = json.loads(args[1])
    elif what == "round":
        for step in data["runs"][int(args[0])]["decode_steps"]:
            for rows in step["hidden_states"].values():
                for back, row in rows.items():
                    rows[back] = [round(x * 64) / 64 for x in row]
    elif what == "truncate":
        data["experiment_metadata"]["decode_steps"] = int(args[0])
        for run in data["runs"]:
            del run["decode_steps"][int(args[0]):]
            data["experiment_metadata"]["sequence_length"] = len(run["prompt_token_ids"]) + int(args[0])
    elif what == "no_steps":  # with the digests of nothing
        empty = sha256(b"")
        data["experiment_metadata"]["decode_steps"] = 0
        for run in data["runs"]:
            run["decode_steps"] = []
            data["experiment_metadata"]["sequence_length"] = len(run["prompt_token_ids"])
            for one in run["reproducibility"]["digests"]:
                one.update({name: empty for name in one if name != "rep_id"})
            run["signals_sha256"] = sha256((4 * empty).encode())
    elif what == "non_finite":
        run, step = data["runs"][int(args[0])], int(args[1])
        position = len(run["prompt_token_ids"]) + step
        run["status"] = "non_finite"
        run["non_finite"] = {"step": step, "absolute_position": position, "layer": 0, "signal": "hidden_states"}
        del run["decode_steps"][step:]
    elif what == "graft":
        with open(args[0], encoding="utf-8") as file:
            other = json.load(file)["runs"][int(args[1])]
        other["config_id"] = data["runs"][0]["config_id"]
        data["runs"][0] = other
    else:
        sys.exit(f"unknown change {what}")


def main(arguments):
    signed = "--resign" in arguments
    source, to, what, *args = [a for a in arguments if a != "--resign"]
    with open(source, encoding="utf-8") as file:
        data = json.load(file)
    change(data, what, *args)
    if signed:
        resign(data)
    with open(to, "w", encoding="utf-8") as file:
        json.dump(data, file, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1:])

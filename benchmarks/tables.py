#!/usr/bin/env python3
"""Writes the tables of the guides from benchmarks/results/*.json, so that no figure is typed by hand.

    python3 benchmarks/tables.py            # writes the tables where they stand
    python3 benchmarks/tables.py --check    # changes nothing; exit code 1 where a table is not what its results give

A table stands in a Markdown file between <!-- table NAME --> and <!-- end of table -->; NAME is a function below. Every
function must stand somewhere, and every result file must be read by one.
"""
import argparse
import difflib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLACE = re.compile(r"^(<!-- table (\w+) -->\n).*?^(<!-- end of table -->)$", re.S | re.M)
TABLES = {}
READ = set()


def table(function):
    TABLES[function.__name__] = function
    return function


def result(name):
    READ.add(name)
    return json.loads((RESULTS / name).read_text())


def markdown(head, rows):
    """A Markdown table of lists of words."""
    lines = [head, ["---"] * len(head), *rows]
    assert all(len(line) == len(head) for line in lines), head
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines)


def one(rows, **wanted):
    """The row with these values; none or two are an error."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def ranks(name):
    """run(run, configuration) of a result of benchmarks/gpu/ranks.sh, and the file."""
    file = result(name)
    return lambda run, configuration: one(file["runs"], run=run, configuration=configuration), file


def yes(*equal):
    """Of one comparison or of several that make a row."""
    return "**equal**" if all(equal) else "some differ" if any(equal) else "differ"


@table
def findings():
    """What was found: each row says what the results say, whichever way they turn."""
    h100, portable = result("gpu_h100_80gb.json"), result("gpu_portable.json")
    two, two_file = ranks("gpu_2_h100_80gb.json")
    four, four_file = ranks("gpu_4_h200.json")
    toolkits = h100["cuda_versions"]["rows"]
    kernels = [row for row in toolkits if "kernels" in row]
    # Each file of ranks repeats the one GPU that it is held against.
    rows = h100["experiments"]["rows"] + [row for file in (two_file, four_file) for row in file["runs"]
                                          if row["configuration"] not in ("tp1", "ep1") or row["run"] in ("eager", "compiled")]
    exact = sum(row["bit_exact"] for row in rows)

    def same(run, *places):
        digests = {place[0](run, place[1])["digest"] for place in places}
        return len(digests) == 1

    emulated = [(f"compiled{kind}", f"compiled-emulated{kind}", parallel)
                for kind, parallel in (("", "tp"), ("-contiguous", "ep"), ("-round_robin", "ep"))]
    found = [
        [f"{min(r['repetitions'] for r in rows)} to {max(r['repetitions'] for r in rows)} repetitions of one run on GPUs",
         f"**equal** in {exact} of {len(rows)} runs"],
        ["CUDA 11.8, 12.1 and 13.0",
         f"{yes(*(row['bit_equal'] for row in toolkits))}, though "
         f"{sum(row['kernels_that_differ'] for row in kernels)} of {sum(row['kernels'] for row in kernels)} kernels differ "
         "in machine code"],
        ["H100 against H200, compiled", yes(same("compiled", (two, "tp1"), (four, "tp1")))],
        [f"H100 against H200, portable (version {portable['portable_version']})",
         yes(len({row["portable_digest"] for row in portable["rows"]}) == 1)],
        ["eager against compiled, one GPU",
         yes(four("eager", "tp1")["digest"] == four("compiled", "tp1")["digest"])],
        ["TP 2 and 4 against one GPU",
         yes(*(four("compiled", n)["digest"] == four("compiled", "tp1")["digest"] for n in ("tp2", "tp4")))],
        ["expert placement contiguous against round robin, EP 2",
         yes(four("compiled-contiguous", "ep2")["digest"] == four("compiled-round_robin", "ep2")["digest"])],
        ["threads against processes, TP 2 and 4",
         yes(*(four("compiled", f"tp{n}")["digest"] == four(f"processes{n}", f"tp{n}")["digest"] for n in (2, 4)))]]
    for n in (2, 4):
        found.append([f"emulated against real ranks, TP {n}, EP {n}",
                      yes(*(four(real, f"{parallel}{n}")["digest"] == four(fake, f"{parallel}{n}")["digest"]
                            for real, fake, parallel in emulated))])
    return markdown(["compared", "bits of all signals"], found)


@table
def speed():
    """The README's times: one GPU, and compare."""
    h100, portable = result("gpu_h100_80gb.json"), result("gpu_portable.json")
    rows, other = h100["experiments"]["rows"], h100["transformers"]
    script, same, *_ = result("compare_xeon_2_cores.json")["results"]
    card = one(portable["rows"], device=h100["device"])
    step = {name: one(rows, format="awq", configuration=name)["step_ms"] for name in ("eager", "compiled")}
    return markdown(["", "fpf", "beside"], [
        ["a decode step, eager / compiled", f"{step['eager']:.2f} / {step['compiled']:.2f} ms",
         f"transformers {other['transformers']}, not bit-exact: {1e3 * other['decode_s_per_token']:.0f} ms"],
        [f"the same, portable (version {portable['portable_version']})",
         f"{card['portable_step_ms']:.2f} ms", f"compiled: {card['compiled_step_ms']:.2f} ms"],
        [f"`compare`, {same['megabytes']:.0f} MB, two cores", f"{same['seconds']:.2f} s",
         f"the plan's script: {script['seconds']:.1f} s, {script['peak_megabytes']:.0f} MB of memory"]])


@table
def compare():
    """Of the newest code alone; what older revisions took is in the history of the results."""
    names = {"plan's script, json + numpy": "the plan's script, json and numpy",
             "compare --plan-compatible": "`compare --plan-compatible`, the same numbers", "compare": "`compare`",
             "compare, every signal and layer": "`compare --signal all --layer all`",
             "compare --all, eight files": "`compare --all`, eight files"}
    file = result("compare_xeon_2_cores.json")
    rows = []
    for row in file["results"]:
        faster = row.get("times_faster")
        rows.append([names[row["name"]], f"{row['megabytes']:.0f}",
                     "{:.2f} ({:.2f} to {:.2f})".format(row["seconds"], *row["range"]),
                     "{:.1f} ({:.1f} to {:.1f})".format(faster["median"], *faster["range"]) if faster else "",
                     f"{row['peak_megabytes']:.0f}"])
    return (f"{file['processor']}, {file['cores']} cores, {file['date']}, load {file['load_average']:.1f}:\n\n" +
            markdown(["", "MB", "seconds (range)", "times faster (range)", "peak memory, MB"], rows))


@table
def gpu_experiments():
    h100 = result("gpu_h100_80gb.json")
    rows = []
    for row in h100["experiments"]["rows"]:
        rows.append([f"{row['format'].upper()}, {row['configuration']}", str(row["repetitions"]),
                     "yes" if row["bit_exact"] else "no", f"{row['step_ms']:.2f}", f"{row['prefill_s']:.2f}",
                     f"{row['device_GB']:.2f}" if "device_GB" in row else ""])
    other = h100["transformers"]
    rows.append([f"transformers {other['transformers']}, {other['dtype']}, {other['attention'].upper()}", "",
                 "yes" if other["repetitions_bit_exact"] else "no", f"{1e3 * other['decode_s_per_token']:.0f}",
                 f"{other['prefill_s']:.2f}", ""])
    def step(layers, again):
        row = one(h100["experiments"]["rows"], format="awq", configuration=f"compiled, signals of {layers}{again}")
        return row["step_ms"]

    cost = max(step("48 layers", again) / step("one layer", again) - 1 for again in ("", ", again"))
    return (markdown(["", "repetitions", "bit-exact", "a decode step, ms", "prefill, s", "device memory, GB"], rows) +
            f"\nThe signals of the other 47 layers cost {100 * cost:.1f} % of a compiled step.\n")


@table
def gpu_loading():
    loading = result("gpu_h100_80gb.json")["loading"]
    names = {"awq_s": "AWQ", "gptq_s": "GPTQ", "nf4_s": "NF4",
             "awq_safetensors_in_page_cache_s": "AWQ, from safetensors in the page cache"}
    return markdown(["", "a whole run of two steps, s"], [[names[key], f"{loading[key]:.1f}"] for key in names])


@table
def gpu_steps():
    """Steps of benchmarks/gpu/kernels.cpp: what a step's bytes take beside a copy of as many."""
    rows = []
    for step in result("gpu_h100_80gb.json")["steps"]:
        whole = step["step"]
        rows.append([step["name"], f"{whole['us'] / 1e3:.2f}", f"{whole['bytes'] / 1e9:.2f}",
                     f"{100 * whole['share_of_copy']:.0f} %"])
    return markdown(["", "a step, ms", "bytes, GB", "of the card's copy rate"], rows)


@table
def gpu_toolkits():
    rows = []
    for row in result("gpu_h100_80gb.json")["cuda_versions"]["rows"]:
        versions = sorted(row.get("instructions", row.get("step_ms", {})), key=float)
        rows.append([row["model"], "yes" if row["bit_equal"] else "no",
                     f"{row['kernels_that_differ']} of {row['kernels']}" if "kernels" in row else "",
                     " / ".join(str(row["instructions"][v]) for v in versions) if "instructions" in row else "",
                     " / ".join(f"{row['step_ms'][v]:.2f}" for v in versions) if "step_ms" in row else ""])
    return markdown(["model", "bit-equal", "kernels that differ", "instructions, 11.8 / 12.1 / 13.0",
                     "a step, ms, 11.8 / 12.1 / 13.0"], rows)


@table
def gpu_portable():
    file = result("gpu_portable.json")
    rows = [[row["device"], f"{row['compiled_step_ms']:.2f} / {row['portable_step_ms']:.2f}",
             f"{row['compiled_prefill_s']:.2f} / {row['portable_prefill_s']:.2f}", f"`{row['portable_digest']}`"]
            for row in file["rows"]]
    return markdown(["", "a decode step, ms: compiled / portable", "prefill, s: compiled / portable", "portable digest"],
                    rows)


@table
def cpu_portable():
    rows = [[row["what"], row["dtype"], f"{row['portable_prefill_s']:.2f} / {row['eager_prefill_s']:.2f}",
             f"{row['portable_prefill_s'] / row['eager_prefill_s']:.2f}",
             f"{1e3 * row['portable_step_s']:.0f} / {1e3 * row['eager_step_s']:.0f}",
             f"{row['portable_step_s'] / row['eager_step_s']:.2f}"] for row in result("cpu_portable.json")["rows"]]
    return markdown(["instructions of portable / libtorch", "dtype", "prefill of 2048, s: portable / eager", "ratio",
                     "a decode step, ms: portable / eager", "ratio"], rows)


@table
def gpu_ranks():
    names = {"": "threads", "-contiguous": "contiguous", "-round_robin": "round robin"}
    rows = []
    for name, sizes in (("gpu_2_h100_80gb.json", (2,)), ("gpu_4_h200.json", (2, 4))):
        run, file = ranks(name)
        for execution in ("compiled", "eager"):
            cases = [("one GPU", execution, "tp1")]
            for n in sizes:
                kinds = [("", "tp")] + ([("-contiguous", "ep"), ("-round_robin", "ep")] if execution == "compiled" else [])
                for kind, parallel in kinds:
                    label = f"{parallel.upper()} {n}, "
                    cases.append((label + names[kind], execution + kind, f"{parallel}{n}"))
                    cases.append((label + ("" if kind == "" else names[kind] + ", ") + "emulated on one",
                                  f"{execution}-emulated{kind}", f"{parallel}{n}"))
                if execution == "compiled":
                    cases.append((f"TP {n}, processes", f"processes{n}", f"tp{n}"))
            for label, which, configuration in cases:
                row = run(which, configuration)
                rows.append([file["gpus"].replace("NVIDIA ", "").split(",")[0] + f", {execution}", label,
                             f"{row['step_ms']:.2f}", f"{row['prefill_s']:.3f}", f"{max(row['weight_gb_a_rank']):.1f}",
                             f"`{row['digest'][:8]}`"])
    return markdown(["", "ranks", "a decode step, ms", "prefill, s", "weights a rank, GB", "digest"], rows)


@table
def gpu_collectives():
    rows = []
    for name in ("gpu_2_h100_80gb.json", "gpu_4_h200.json"):
        file = result(name)
        for row in file["collectives"]:
            large = row["bytes"] > 1 << 20
            rows.append([file["gpus"].replace("NVIDIA ", "").split(",")[0], str(row["ranks"]), row["by"],
                         f"{row['bytes'] / 1e6:.0f} MB" if large else f"{row['bytes'] // 1024} KB",
                         f"{row['us_a_call']:.1f}", f"{row['us_in_a_graph']:.1f}",
                         f"{row['bus_gb_per_s']:.0f}" if large else ""])
    return markdown(["GPUs", "ranks", "by", "an all-reduce of", "µs a call", "µs in a graph", "GB/s on the bus"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a table is not current")
    check = parser.parse_args().check
    placed, stale = set(), []
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("examples/*.md")]):
        text = path.read_text()

        def filled(match):
            if match[2] not in TABLES:
                sys.exit(f"{path.relative_to(ROOT)} asks for the table {match[2]}; benchmarks/tables.py has "
                         f"{', '.join(TABLES)}")
            placed.add(match[2])
            return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

        now = PLACE.sub(filled, text)
        if len(re.findall("^<!-- table ", text, re.M)) != len(PLACE.findall(text)):
            sys.exit(f"{path.relative_to(ROOT)}: a table has no <!-- end of table -->")
        if now == text:
            continue
        stale.append(path.relative_to(ROOT))
        if check:
            sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), now.splitlines(True), str(stale[-1]),
                                                       "from benchmarks/results", n=1))
        else:
            path.write_text(now)
            print(f"{stale[-1]}: written")
    if missing := TABLES.keys() - placed:
        sys.exit(f"these tables of benchmarks/tables.py stand in no Markdown file: {', '.join(sorted(missing))}")
    if unread := {file.name for file in RESULTS.glob("*.json")} - READ:
        sys.exit(f"these results are in no table of benchmarks/tables.py: {', '.join(sorted(unread))}")
    if check and stale:
        sys.exit(f"{', '.join(map(str, stale))}: not what benchmarks/results give; run python3 benchmarks/tables.py")


if __name__ == "__main__":
    main()

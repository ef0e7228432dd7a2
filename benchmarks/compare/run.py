#!/usr/bin/env python3
"""Times `compare` beside the plan's Python script: wall time and peak memory of whole processes, warm cache.

    python run.py [--compare build/bin/compare] [--folder build/benchmarks] [--repeat 8] [--no-large] [--json FILE]

Makes its files once (make_experiment.py, numpy): 200 MB, eight of 50 MB, and 4.5 GB unless --no-large. All cases take
turns, so that other work on the machine meets all of them; ratios are of one turn each. They travel between machines,
times do not. Medians and ranges are printed as a Markdown table.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EIGHT = ["batch_size", "compile", "quantization", "attention", "concurrent_streams", "tensor_parallel", "expert_parallel",
         "cuda_version"]


def make(path, megabytes, name):
    if not path.exists():
        subprocess.run([sys.executable, HERE / "make_experiment.py", path, "--megabytes", str(megabytes), "--name", name],
                       check=True)
    return path


def measure(command):
    """Seconds, peak bytes, processor seconds and standard output of one process. Its peak is at least this script's own,
    which therefore keeps no output longer than it must."""
    start = time.perf_counter()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime, out


def numbers(value):
    """Every number of a report, in order, to see that both sides say the same."""
    if isinstance(value, dict):
        return [n for key in sorted(value) for n in numbers(value[key])]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [float(value)] if isinstance(value, (int, float)) else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=Path, default=ROOT / "build" / "bin" / "compare")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--no-large", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    eight = options.folder / "eight"
    eight.mkdir(exist_ok=True)
    file = make(options.folder / "200.json", 200, "batch_size")
    for name in EIGHT:
        make(eight / f"{name}_experiment.json", 50, name)
    program = options.compare.resolve()

    cases = [("plan's script, json + numpy", [sys.executable, HERE / "plan_script.py", file], file, options.repeat),
             ("compare --plan-compatible", [program, "--plan-compatible", "--json", file], file, options.repeat),
             ("compare", [program, "--json", file], file, options.repeat),
             ("compare, every signal and layer", [program, "--json", "--signal", "all", "--layer", "all", file], file,
              options.repeat),
             ("compare --all, eight files", [program, "--all", "--experiment-dir", eight, "--json"], eight, options.repeat)]
    if not options.no_large:
        large = make(options.folder / "4500.json", 4500, "batch_size")
        cases += [("compare, 4.5 GB", [program, "--json", large], large, 2),
                  ("compare, 4.5 GB, every signal and layer",
                   [program, "--json", "--signal", "all", "--layer", "all", large], large, 1)]
    outputs = [measure(command)[3] for _, command, _, _ in cases][:2]  # warms the cache
    runs = [[] for _ in cases]
    for turn in range(max(repeat for *_, repeat in cases)):
        for (_, command, _, repeat), own in zip(cases, runs):
            if turn < repeat:
                own.append(measure(command)[:3])
    results = []
    for (name, _, subject, _), own in zip(cases, runs):
        size = subject.stat().st_size if subject.is_file() else sum(p.stat().st_size for p in subject.iterdir())
        seconds = [run[0] for run in own]
        entry = {"name": name, "megabytes": size / 1e6, "seconds": statistics.median(seconds),
                 "range": [min(seconds), max(seconds)],
                 "processor_seconds": statistics.median(run[2] for run in own),
                 "peak_megabytes": max(run[1] for run in own) / 1e6}
        if subject is file and own is not runs[0]:
            ratios = [script[0] / run[0] for script, run in zip(runs[0], own)]
            entry["times_faster"] = {"median": statistics.median(ratios), "range": [min(ratios), max(ratios)]}
        results.append(entry)
    script, plan = (numbers(json.loads(outputs[i])) for i in (0, 1))
    worst = max(abs(a - b) / max(abs(a), 1e-300) for a, b in zip(script, plan))
    if len(script) != len(plan) or worst > 1e-12:
        sys.exit(f"the plan's script and compare disagree by {worst:.1e}")

    print("| | file MB | seconds (range) | times faster | processor s | peak MB | of the file |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    for entry in results:
        faster = f"{entry['times_faster']['median']:.1f}" if "times_faster" in entry else ""
        print(f"| {entry['name']} | {entry['megabytes']:.0f} | {entry['seconds']:.2f} ({entry['range'][0]:.2f} to "
              f"{entry['range'][1]:.2f}) | {faster} | {entry['processor_seconds']:.2f} | "
              f"{entry['peak_megabytes']:.0f} | "
              f"{entry['peak_megabytes'] / entry['megabytes']:.2f} |")
    print(f"\nThe script's {len(script)} numbers and compare's agree to {worst:.1e}; {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}.")
    if options.json:
        revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
        options.json.write_text(json.dumps(
            {"benchmark": "compare", "date": time.strftime("%Y-%m-%d"), "revision": revision.stdout.strip(),
             "processor": model, "cores": os.cpu_count(), "load_average": os.getloadavg()[0], "results": results},
            indent=2) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What stands in several lists stands in all of them: experiments, formats, executions, attentions, parallelisms,
architectures, models of the parity tests. Says which list lacks which name, so that adding one begins with adding it anywhere.

    python3 tests/places.py

A row: what it is, where its names come from (a regular expression over files), and every file that must have the word; with
a regular expression beside the file, the list in it.
Where a list becomes one table that the compiler holds, its file leaves the row.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FPF = "include/fpf/"
UMBRELLA, REGISTRY, SCHEMES = FPF + "experiment.hpp", FPF + "experiment/registry.hpp", FPF + "quant/schemes.hpp"

# what, (files, regular expression of a name; None: their names), files that have it or (file, regular expression with NAME)
SETS = [
    ("the program", ("drivers/exp*.cpp", r"\{\{\"(exp\d_\w+)\"|info\{\s*\{\"(exp\d_\w+)\""),
     [("drivers/CMakeLists.txt", r"set\(experiments [^)]*NAME"), "README.md", FPF + "campaign/steps.hpp"]),
    ("the experiment", (FPF + "evidence/experiment_kinds.hpp", r"^    \{\"(\w+)\", \""),
     [("README.md", r"`NAME_(experiment|baseline)\.json`"), FPF + "evidence/labels.hpp", "tests/evidence/lies.hpp",
      (FPF + "evidence/experiment.schema.json", r'"experiment_type": \{"const": "NAME"')]),
    ("the format", (FPF + "quant/*.hpp", r"static_assert\(QuantScheme<(\w+)>"),
     [SCHEMES]),
    ("the attention", (FPF + "attention/*.hpp", r"static_assert\(AttentionKernel<(\w+)>"),
     [REGISTRY]),
    ("the parallelism", (FPF + "parallel/*.hpp", r"static_assert\(Parallelism<(\w+)>"),
     [REGISTRY]),
    ("the execution", (FPF + "execution/*.hpp", r"static_assert\(Execution<(\w+)>"),
     [REGISTRY]),
    ("the family", (FPF + "model/architectures/*.hpp", r"^inline constexpr Architecture (\w+)\{"),
     [(FPF + "model/architectures.hpp", r"all\{[^}]*&NAME")]),
    ("the architecture", (FPF + "model/architectures/*.hpp", r"^inline constexpr Architecture \w+\{\.name = \"(\w+)\""),
     [("tests/checkpoint/checkpoint_writer.cpp", r"architectures\{[^}]*\"NAME\""), "tests/fixtures/make_parity.py"]),
    ("the model", ("tests/fixtures/parity/*", None), ["tests/model/parity.cpp", "tests/portable/portable.cpp"]),
]
# Every header that ends a policy's contract is in the umbrella, or in one of the lists that it includes.
CONTRACT = r"static_assert\((?:QuantScheme|AttentionKernel|Parallelism|StreamContention|Execution)<\w+>"


def main():
    problems = []
    for what, (files, pattern), places in SETS:
        found = list(ROOT.glob(files))
        names = {file.name for file in found} if pattern is None else {
            next(filter(None, match.groups()))
            for file in found for match in re.finditer(pattern, file.read_text(), re.M)}
        if len(names) < 2:
            problems.append(f"{what}: {files} has {len(names)} by the pattern of tests/places.py; where are they now?")
        for place in places:
            file, where = place if isinstance(place, tuple) else (place, "NAME")
            if not (ROOT / file).exists():
                problems.append(f"{what}: tests/places.py asks for {file}, which is not there; where is that list now?")
                continue
            text = (ROOT / file).read_text()
            problems += [f"{file} lacks {what} {name}" for name in sorted(names)
                         if not re.search(where.replace("NAME", rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])"), text)]
    umbrella = "".join((ROOT / file).read_text() for file in (UMBRELLA, REGISTRY, SCHEMES))
    for header in sorted((ROOT / FPF).glob("*/*.hpp")):
        own = header.relative_to(ROOT / "include").as_posix()
        if re.search(CONTRACT, header.read_text()) and f"<{own}>" not in umbrella:
            problems.append(f"neither {UMBRELLA} nor {REGISTRY} has #include <{own}>")
    print("\n".join(problems) or "all lists are whole")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()

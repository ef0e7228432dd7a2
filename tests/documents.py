#!/usr/bin/env python3
"""Markdown that cannot go stale: links and paths lead somewhere, commands are ones that the programs take, the README is
short and has every program.

    python3 tests/documents.py [FOLDER_OF_PROGRAMS]     without a folder commands are held to the drivers' names alone
"""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if "build" not in path.relative_to(ROOT).parts)
FOLDERS = ("include", "drivers", "examples", "tests", "benchmarks", "cmake")
problems = []


def wrong(path, what):
    problems.append(f"{path.relative_to(ROOT)}: {what}")


def prose(text):
    """Without code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def anchors(path):
    """The fragments of a file's headings, as GitHub and GitLab make them."""
    heads = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def check_links(path, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            wrong(path, f"the link to {target} leads nowhere")
        elif fragment and fragment not in anchors(to):
            wrong(path, f"{target}: there is no heading #{fragment} (known: {', '.join(sorted(anchors(to)))})")


def check_paths(path, text):
    """`include/fpf/core/json.hpp`, `tests/*.cpp`: what stands in backticks and begins with a folder of the tree is there.
    <name> stands for any name."""
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        name = code.split()[-1] if code.startswith(("bash ", "python ", "python3 ")) else code
        if not re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./*<>-]*", name):
            continue
        if not list(ROOT.glob(re.sub(r"<\w+>", "*", name.rstrip("/")))):
            wrong(path, f"there is no {name}")


def drivers():
    text = (ROOT / "drivers/CMakeLists.txt").read_text()
    names = re.search(r"set\(experiments (.*?)\)", text, re.S)[1].split()
    return names + re.findall(r"fpf_add_driver\((\w+) (?:QUICK )?LIBS", text)


def commands(text):
    """The command lines of console blocks, continued lines joined, arrays like "${common[@]}" put in; lines of an options'
    file as the options that they are."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.S | re.M):
        arrays = dict(re.findall(r"(\w+)=\(([^)]*)\)", block))
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.splitlines():
            line = re.sub(r'"\$\{(\w+)\[@\]\}"', lambda array: " ".join(arrays.get(array[1], "").split()), line)
            if option := re.fullmatch(r"([a-z][\w-]*) = .*", line):
                yield f"build/bin/campaign --{option[1]}"
            elif re.search(r"\bbuild/bin/", line):
                yield re.sub(r"\s{2,}#.*", "", line)


def check_commands(path, text, help_of):
    for line in commands(text):
        for program, rest in re.findall(r"build/bin/(\w+)(.*?)(?=build/bin/|$)", line):
            if program not in drivers() and program != "synthetic_models":
                wrong(path, f"{program} in '{line.strip()}' is no program of drivers/")
                continue
            try:
                words = shlex.split(rest.strip().strip("'"))
            except ValueError:
                words = rest.split()
            for word in words:
                option = word.split("=")[0]
                if re.fullmatch(r"--[a-z][\w-]+", option) and help_of(program) and \
                        not re.search(rf"{option}\b(?![\w-])", help_of(program)):
                    wrong(path, f"{program} has no {option}: {line.strip()}")


def check_readme(path, text):
    if len(text.splitlines()) > 150:
        wrong(path, f"{len(text.splitlines())} lines: at most 150; a guide belongs into examples/")
    for program in drivers():
        if f"`{program}`" not in text:
            wrong(path, f"the program {program} is not in it")
    for guide in ROOT.glob("examples/*.md"):
        if f"](examples/{guide.name})" not in text:
            wrong(path, f"there is no link to examples/{guide.name}")
    for block in re.findall(r"^```text\n(.*?)^```$", text, re.S | re.M):
        for line in block.splitlines():
            if len(line) > 40:
                wrong(path, f"the figure has a line of {len(line)} columns: at most 40: {line}")


def check_tree(path, text):
    """CONTRIBUTING's tree has every folder of include/fpf, and none that is not there."""
    tree = re.search(r"^```text\n(include/fpf/.*?)^```$", text, re.S | re.M)
    if not tree:
        return wrong(path, "there is no tree that begins with include/fpf/")
    told = set(re.findall(r"^  (\w+)/", tree[1].split("\ndrivers/")[0], re.M))
    there = {folder.name for folder in (ROOT / "include/fpf").iterdir() if folder.is_dir()}
    for name in sorted(there - told):
        wrong(path, f"the tree lacks include/fpf/{name}/")
    for name in sorted(told - there):
        wrong(path, f"the tree has include/fpf/{name}/, which is not there")


def main():
    programs = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    texts = {}

    def help_of(program):
        if programs is None or not (programs / program).exists():
            return None
        if program not in texts:
            texts[program] = subprocess.run([programs / program, "--help"], capture_output=True, text=True,
                                            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}).stdout
        return texts[program]

    for path in DOCUMENTS:
        text = path.read_text()
        check_links(path, text)
        check_paths(path, text)
        check_commands(path, text, help_of)
    check_readme(ROOT / "README.md", (ROOT / "README.md").read_text())
    check_tree(ROOT / "CONTRIBUTING.md", (ROOT / "CONTRIBUTING.md").read_text())
    print("\n".join(problems) or f"{len(DOCUMENTS)} documents")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()

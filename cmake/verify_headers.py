#!/usr/bin/env python3
"""Verifies that every header of include/fpf compiles alone: includes what it needs.

    verify_headers.py FOLDER [ninja's options]
                    FOLDER/<library>.json say compiler, flags and headers of each library (fpf_functions.cmake)

A unit for each header costs half an hour of a processor, since all of them parse the same again. But a header that was
included by the next one anyway takes nothing from the next one's verification: in a unit that includes core/error.hpp
and then core/json.hpp, which includes core/error.hpp, both compile as if alone. So the headers are cut into as few such
chains as possible (a minimum path cover: a third of the units), each chain is one unit, nothing is generated
(-fsyntax-only) and ninja runs them; a unit is checked again when something that it includes has changed.
"""
import json
import os
import re
import sys
from pathlib import Path


def includes(header):
    """All headers "fpf/..." that a header includes, and those that it surely includes before its own code."""
    every, before, depth, code = set(), set(), 0, False
    for line in header.read_text().splitlines():
        code = code or line.startswith(("namespace", "struct", "class", "template", "inline", "extern"))
        depth += line.startswith("#if") - line.startswith("#endif")
        if match := re.match(r"#include <(fpf/[^>]+)>", line):
            every.add(match[1])
            if depth == 0 and not code:
                before.add(match[1])
    return every, before


def chains(headers):
    """{name: path} -> lists of names, each name included by the next one before its own code."""
    direct = {name: includes(path) for name, path in headers.items()}
    closures = {}

    def closure(name):
        if name not in closures:
            closures[name] = set()  # ends a cycle, which tests/include_order.cpp reports
            for other in direct.get(name, ((), ()))[0]:
                closures[name] |= {other} | closure(other)
        return closures[name]

    follows = {name: [] for name in headers}
    for name in sorted(headers):
        seen = set().union(*({other} | closure(other) for other in direct[name][1]))
        for other in seen & headers.keys() - {name}:
            follows[other].append(name)
    previous = {}

    def extend(name, tried):
        for after in follows[name]:
            if after not in tried:
                tried.add(after)
                if after not in previous or extend(previous[after], tried):
                    previous[after] = name
                    return True
        return False

    for name in sorted(headers, key=lambda name: (-len(closure(name)), name)):  # who costs most should be no last
        extend(name, set())
    for last in sorted(headers.keys() - set(previous.values())):
        chain = [last]
        while chain[-1] in previous:
            chain.append(previous[chain[-1]])
        yield chain[::-1]


def write(path, text):
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(folder):
    sys.setrecursionlimit(10000)
    rules, headers, library_of = ["ninja_required_version = 1.5"], {}, {}
    for file in sorted(folder.glob("*.json")):
        library = json.loads(file.read_text())
        flags = [f"-D{name}" for name in library["definitions"]] + [f"-I{path}" for path in library["folders"]]
        command = [library["compiler"], "-std=c++20", "-O0", "-w", *flags, "-UFMT_HEADER_ONLY", "-fsyntax-only"]
        if library["vendor"] == "GNU":  # a third less time than with looking for garbage from 128 MB on
            command += ["--param", "ggc-min-heapsize=1048576"]
        rules.append(f"rule {file.stem}\n  command = {' '.join(command)} -MD -MF $out.d -MT $out $in && touch $out\n"
                     f"  depfile = $out.d\n  deps = gcc\n  description = $last and $more before it")
        for path in library["headers"]:
            name = "fpf/" + path.rpartition("/include/fpf/")[2]
            headers[name], library_of[name] = Path(path), file.stem
    units = list(chains(headers))
    for chain in units:
        last = chain[-1]
        unit = folder / "units" / (re.sub(r"\W", "_", last) + ".cpp")
        write(unit, "".join(f"#include <{name}>\n" for name in chain))
        rules.append(f"build {unit}.verified: {library_of[last]} {unit}\n  last = {last}\n  more = {len(chain) - 1}")
    write(folder / "build.ninja", "\n".join(rules) + "\n")
    print(f"{len(headers)} headers in {len(units)} units", flush=True)
    os.execvp("ninja", ["ninja", "-C", str(folder), "-k", "0", *sys.argv[2:]])  # who ends this ends what it runs


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

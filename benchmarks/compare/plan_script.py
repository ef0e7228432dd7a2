#!/usr/bin/env python3
"""The plan's comparison of one experiment file: json.load, numpy, key vectors of one layer. The peer of `compare`.

    python plan_script.py FILE.json [SIGNAL]
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "compare" / "fixtures"))
from plan_oracle import analyse  # noqa: E402

if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        report = analyse(json.load(file), sys.argv[2] if len(sys.argv) > 2 else "key_vectors")
    json.dump(report, sys.stdout)

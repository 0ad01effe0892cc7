"""All of nanoGPT's own configuration files, and every key of its train.py: what is taken, what is lost.

    python tests/benchmarks/nanogpt_configs.py --nanogpt DIR

Each file is executed, as nanoGPT does, and read, as we do; a key whose value differs is lost, and the exit
code 1. DIR is a checkout of https://github.com/karpathy/nanoGPT.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from nanogpt_cli.config.schema import SETTINGS
from tests.config.nanogpt_oracle import compare, train_py_defaults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="checkout of nanoGPT")
    root = parser.parse_args().nanogpt
    n_lost = 0
    print("| file | keys | lost | warnings |\n|---|---|---|---|")
    for path in sorted((root / "config").glob("*.py")):
        found = compare(path)
        n_lost += len(found.lost)
        names = ", ".join(found.keys)
        print(f"| {path.name} | {len(found.keys)}: {names} | {', '.join(found.lost) or '0'} | ", end="")
        print("; ".join(found.warnings) or "0", "|")
    print("\n| key of train.py | nanoGPT's default | ours |\n|---|---|---|")
    for name, value in train_py_defaults((root / "train.py").read_text(encoding="utf-8")).items():
        ours = repr(SETTINGS[name].default) if name in SETTINGS else "LOST"
        n_lost += name not in SETTINGS
        print(f"| {name} | {value!r} | {'the same' if ours == repr(value) else ours} |")
    print(f"\n{n_lost} lost")
    return 1 if n_lost else 0


if __name__ == "__main__":
    raise SystemExit(main())

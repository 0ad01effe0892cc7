"""What is not loaded: `--help` must answer at once, and a log is explained without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "numpy",
    "datasets",
    "tiktoken",
    "transformers",
    "matplotlib",
    "huggingface_hub",
    "safetensors",
}
PROBE = """
import json, sys
{statement}
loaded = {{name.split(".")[0] for name in sys.modules}}
with open("loaded.json", "w") as file:
    json.dump(sorted(loaded), file)
"""


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in sys.modules after a fresh interpreter ran `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(Path("loaded.json").read_text(encoding="utf-8")))


def command(*args: str) -> str:
    return f"from nanogpt_cli.cli.app import run; assert run({list(args)}) == 0"


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--version",),
        ("init", "--list"),
        *((name, "--help") for name in ("init", "prepare", "train", "eval", "sample", "explain-log")),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(args: tuple[str, ...]) -> None:
    assert loaded_by(command(*args)) & HEAVY == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import nanogpt_cli") & (HEAVY | {"typer", "rich"}) == set()


def test_the_probe_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_by("import numpy")


def test_a_log_is_explained_without_torch() -> None:
    lines = [f"iter {i}: loss {4 - i / 50:.4f}, time 12.00ms, mfu 1.00%" for i in range(50)]
    Path("train.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "torch" not in loaded_by(command("explain-log", "train.log"))


def test_preparing_by_characters_needs_no_torch() -> None:
    Path("input.txt").write_text("To be, or not to be, that is the question.\n" * 50, encoding="utf-8")
    assert "torch" not in loaded_by(command("prepare", "input.txt", "--tokenizer", "char"))

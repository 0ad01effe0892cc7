"""The README keeps its word: its commands run as written, what it names is there, its trees are true."""

import re
import shlex
from pathlib import Path

import pytest

from nanogpt_cli.config.presets import preset_names
from tests.helpers import ROOT, subprocess_cli

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT = "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east.\n\n" * 60

# So that `nanogpt train` takes seconds here: the environment stands above presets and below flags.
SHORT = {
    "NANOGPT_MAX_ITERS": "12",
    "NANOGPT_EVAL_INTERVAL": "6",
    "NANOGPT_EVAL_ITERS": "2",
    "NANOGPT_N_LAYER": "1",
    "NANOGPT_DTYPE": "float32",
}


def commands() -> list[str]:
    """Every line of every block marked `sh`, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "input.txt").write_text(TEXT, encoding="utf-8")
    for name, value in SHORT.items():
        monkeypatch.setenv(name, value)
    lines = commands()
    assert lines[:3] == [
        "nanogpt prepare input.txt --tokenizer char",
        "nanogpt train --preset cpu-tiny",
        'nanogpt sample --prompt "ROMEO:"',
    ]
    for line in lines:
        words = shlex.split(line)
        settings = dict(word.split("=", 1) for word in words if re.match(r"NANOGPT_\w+=", word))
        args = [word for word in words if word.split("=")[0] not in settings]
        assert args[0] == "nanogpt", line
        done = subprocess_cli(*args[1:], env=settings)
        assert done.code == 0, f"{line}\n{done.err}"


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))
    assert named == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_every_preset_is_named() -> None:
    table = README.split("## Presets")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", table.split("A setting")[0])) == set(preset_names())


def test_the_annotated_tree_is_the_disks() -> None:
    tree = README.split("## The house")[1].split("```")[1]
    for name in re.findall(r"^  (\w+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / "nanogpt_cli" / name).is_dir(), name
    for name in re.findall(r"^(\w+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / name).is_dir(), name
    on_disk = {p.name for p in (ROOT / "nanogpt_cli").iterdir() if p.is_dir() and p.name[0] != "_"}
    assert on_disk <= set(re.findall(r"(\w+)/", tree)), on_disk

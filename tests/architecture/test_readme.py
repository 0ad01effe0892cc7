"""The README keeps its word: its commands run as written, what it names is there, its trees are true."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.jsonl import to_record
from nanogpt_cli.config.presets import preset_names
from nanogpt_cli.config.schema import GROUPS, SETTINGS
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


def section(title: str) -> str:
    """What stands under `## title`."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> dict[str, str]:
    """The last cell of every row of the tables in `text`, by its first one."""
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip().strip("`"): row[-1] for row in cells}


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
    named = {name for first in rows(section("Presets")) for name in re.findall(r"[a-z0-9-]+", first)}
    assert set(preset_names()) == named - {"preset", "---"}


def test_every_setting_stands_in_its_group() -> None:
    table = rows(section("Settings"))
    for group in GROUPS:
        names = [setting.name for setting in SETTINGS.values() if setting.group == group]
        assert re.findall(r"`(\w+)`", table[group]) == names


@pytest.mark.parametrize(
    "event",
    [
        events.RunStarted,
        events.StepLogged,
        events.EvalDone,
        events.SampleDrawn,
        events.CheckpointSaved,
        events.NonFinite,
        events.RunEnded,
    ],
)
def test_every_key_of_a_metrics_record_is_named(event: type[events.Event]) -> None:
    record = to_record(event(**{field.name: 0 for field in dataclasses.fields(event)}))
    assert record is not None
    keys = set(record) - {"v", "event"}
    assert set(re.findall(r"`(\w+)`", rows(section("Files of a run"))[record["event"]])) == keys


def test_links_within_the_readme_lead_somewhere() -> None:
    titles = re.findall(r"^## (.*)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]*)\)", README))
    assert links <= anchors
    assert anchors <= links  # and each section can be found from the top


def test_the_annotated_tree_is_the_disks() -> None:
    tree = README.split("## The house")[1].split("```")[1]
    for name in re.findall(r"^  (\w+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / "nanogpt_cli" / name).is_dir(), name
    for name in re.findall(r"^(\w+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / name).is_dir(), name
    on_disk = {p.name for p in (ROOT / "nanogpt_cli").iterdir() if p.is_dir() and p.name[0] != "_"}
    assert on_disk <= set(re.findall(r"(\w+)/", tree)), on_disk

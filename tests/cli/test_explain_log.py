"""`nanogpt explain-log` as a user runs it: screens, pipes, JSON, errors."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from nanogpt_cli.cli import app
from tests.explain.samples import FIXTURES, falling, iter_lines, metrics
from tests.helpers import run_cli, subprocess_cli

PAIR = FIXTURES / "pair.log"


def make_run(name: str, when: int) -> Path:
    folder = Path("out") / name
    (folder / "checkpoints").mkdir(parents=True)
    file = folder / "metrics.jsonl"
    file.write_text(metrics(falling(4.2, 1.9, 15), end="finished"))
    os.utime(file, (when, when))
    return folder


def test_plain_text_in_a_pipe() -> None:
    code, out, err = run_cli("explain-log", PAIR)
    assert code == 0
    assert "\x1b" not in out + err
    assert "Strong overfitting" in out
    assert "0.9 x 11.09 + 0.1 x 0.08 = 9.99 %" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert err.startswith("next: nanogpt explain-log ")


def test_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    result = run_cli("explain-log", FIXTURES / "shakespeare_cpu.log")
    assert "╭" in result.out
    assert "\x1b[" in result.out
    from rich.text import Text

    assert max(Text.from_ansi(line).cell_len for line in result.out.splitlines()) <= 60


def test_json_is_the_only_thing_on_stdout() -> None:
    code, out, err = run_cli("explain-log", PAIR, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert document["findings"][0]["code"] == "overfitting"


def test_standard_input() -> None:
    result = run_cli("explain-log", "-", "--json", stdin=PAIR.read_bytes())
    assert result.json()["n_iter_lines"] == 2


def test_chosen_lines() -> None:
    out = run_cli("explain-log", PAIR, "--lines", "4990").out
    assert "iter 4990: loss" in out
    assert "step 5000: train" not in out


def test_the_next_command_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "my first run.log"
    log.write_text(iter_lines(falling(4.2, 2.0, 20)))
    assert f"next: nanogpt explain-log {shlex.quote(str(log))} --lines" in run_cli("explain-log", log).err


def test_quiet_keeps_the_explanation() -> None:
    code, out, err = run_cli("explain-log", PAIR, "--quiet")
    assert (code, err) == (0, "")
    assert "Summary" in out


def test_newest_run_is_taken_and_named() -> None:
    make_run("old", 1000)
    newest = make_run("new", 2000)
    result = run_cli("explain-log")
    assert result.code == 0
    assert f"newest run's log, {newest / 'metrics.jsonl'}" in result.err
    assert f"next: nanogpt sample {newest}" in result.err
    assert "learns as it should" in " ".join(result.out.split())


def test_nanogpt_style_run_folders_are_searched_too() -> None:
    make_run("old", 1000)
    newest = make_run("../out-x", 2000)
    assert "out-x" not in run_cli("explain-log").err, "a log alone is no run"
    (newest / "config.toml").touch()
    assert "newest run's log, out-x/metrics.jsonl" in run_cli("explain-log").err


def test_stopped_run_is_resumed_next() -> None:
    folder = make_run("x", 1000)
    (folder / "metrics.jsonl").write_text(metrics(falling(4.2, 1.9, 15), end="SIGINT"))
    assert f"next: nanogpt train --resume --out-dir {folder}" in run_cli("explain-log", folder).err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("missing.log",), "there is no log or run directory missing.log"),
        (("folder",), "folder holds no training log"),
        (("empty.log",), "the log is empty"),
        (("diary.txt",), "none of its 1 lines is a line of a training log"),
        (("binary.bin",), "is a line of a training log"),
        ((), "there is no run with a log under out/"),
    ],
)
def test_errors_are_two_lines(args: tuple[str, ...], words: str) -> None:
    Path("folder").mkdir()
    Path("empty.log").touch()
    Path("diary.txt").write_text("Dear diary\n")
    Path("binary.bin").write_bytes(bytes(range(256)) * 50)
    code, out, err = run_cli("explain-log", *args)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert words in lines[0]


@pytest.mark.parametrize("lines", ["x", "5-", "10-5", "-3", "99-100"])
def test_bad_line_ranges(lines: str) -> None:
    code, out, err = run_cli("explain-log", PAIR, f"--lines={lines}")
    assert (code, out) == (2, "")
    assert "hint: " in err


def test_json_of_no_log_is_an_answer_and_a_failure() -> None:
    """A script that asks in JSON is told by the finding's code, and by the same exit code as anybody."""
    Path("diary.txt").write_text("Dear diary\n")
    result = run_cli("explain-log", "diary.txt", "--json")
    assert result.code == 1
    assert result.err.startswith("error: diary.txt: ")
    assert [finding["code"] for finding in result.json()["findings"]] == ["not_a_training_log"]


def test_log_text_is_never_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    crash = (
        'Traceback (most recent call last):\n  File "train.py", line 1\nValueError: [/bold] [red]x :smile:\n'
    )
    Path("hostile.log").write_text(iter_lines([4.0, 3.0]) + crash)
    result = run_cli("explain-log", "hostile.log")
    assert result.code == 0
    assert "[/bold] [red]x :smile:" in result.out


def test_in_process_run_with_capsys(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["explain-log", str(PAIR), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_eval_lines"] == 1


def test_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    """A true process in which torch and numpy cannot be imported."""
    shutil.copy(PAIR, tmp_path / "pair.log")
    for name in ("torch", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess_cli("explain-log", "pair.log", "--json", env={"PYTHONPATH": path})
    assert result.code == 0, result.err
    assert result.json()["best_val_loss"] == 1.7044

"""The shell around every command: errors in two lines, exit codes, help in panels, two streams."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt_cli.cli import app, console
from nanogpt_cli.config.schema import GROUPS
from nanogpt_cli.errors import DivergedError, NanoGPTError, UsageError
from tests.helpers import run_cli, subprocess_cli

COMMANDS = ["init", "prepare", "train", "eval", "sample", "explain-log"]


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """`nanogpt` meets `error` on its way."""

    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(app, "app", broken)


# --- help


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command_and_the_three_lines(flag: str) -> None:
    code, out, err = run_cli(flag)
    assert (code, err) == (0, "")
    assert [name for name in COMMANDS if name not in out] == []
    words = " ".join(out.split())
    assert "nanogpt prepare input.txt --tokenizer char" in words
    assert "nanogpt train --preset cpu-tiny" in words


def test_without_arguments_the_help_is_shown_and_it_is_a_usage_error() -> None:
    """The help came as the text of an error, and after it an empty `error: `."""
    code, out, err = run_cli()
    assert code == 2
    assert "explain-log" in out + err
    assert "error" not in out + err
    assert "hint" not in out + err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_every_command_has_help_that_fits(
    command: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, err = run_cli(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: nanogpt {command}" in out
    assert "--json" in out
    assert "--quiet" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= int(columns)


def test_train_shows_a_panel_for_each_group_of_settings() -> None:
    out = run_cli("train", "--help").out
    assert [group for group in GROUPS if f"─ {group} ─" not in out] == []


def test_version() -> None:
    assert run_cli("--version") == (0, "nanogpt 0.1.0\n", "")


# --- errors

SETTINGS_HELP = "nanogpt train --help lists every setting with its type and range"


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["trian"], "no such command 'trian'. Did you mean 'train'?", "nanogpt --help"),
        (["train", "--blok-size", "3"], "flag --blok-size: there is no such setting", SETTINGS_HELP),
        (["train", "--blok_size=3"], "flag --blok-size: there is no such setting", SETTINGS_HELP),
        (["sample", "--blok_size=3"], "no such option: --blok-size", "nanogpt sample --help"),
        (["--verson"], "no such option: --verson", "nanogpt --help"),
        (["init", "a", "b"], "got unexpected extra argument", "nanogpt init --help"),
        (["init", "--template"], "option '--template' requires an argument", "nanogpt init --help"),
    ],
)
def test_a_wrong_command_line_is_two_lines(args: list[str], message: str, hint: str) -> None:
    code, out, err = run_cli(*args)
    first, second = err.splitlines()
    assert (code, out) == (2, "")
    assert first.lower().startswith(f"error: {message}".lower())
    assert second == f"hint: {hint}"


def test_an_unknown_option_suggests_the_nearest() -> None:
    assert "--block-size" in run_cli("train", "--blok-size=3").err.splitlines()[0]


@pytest.mark.parametrize("command", ["prepare", "train", "eval", "sample"])
def test_in_an_empty_folder_every_command_says_what_to_type(command: str, tmp_path: Path) -> None:
    arguments = ["input.txt"] if command == "prepare" else []
    code, out, err = run_cli(command, *arguments)
    assert code in {1, 2}
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert "nanogpt " in second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (NanoGPTError("it broke", "mend it"), 1, ["error: it broke", "hint: mend it"]),
        (UsageError("wrong", "do this"), 2, ["error: wrong", "hint: do this"]),
        (DivergedError("loss is nan", "lower it"), 3, ["error: loss is nan", "hint: lower it"]),
        (
            UsageError("2 settings are wrong", "see", details=("a: x", "b: y")),
            2,
            ["error: 2 settings are wrong", "  - a: x", "  - b: y", "hint: see"],
        ),
        (
            NanoGPTError("[bold]file[/] :smile: {x}", "[red]"),
            1,
            ["error: [bold]file[/] :smile: {x}", "hint: [red]"],
        ),
        (NanoGPTError("m" * 300, "h" * 300), 1, ["error: " + "m" * 300, "hint: " + "h" * 300]),
        (KeyboardInterrupt(), 130, ["stopped"]),
    ],
    ids=["failed", "usage", "diverged", "details", "markup", "long", "interrupt"],
)
def test_what_goes_wrong_and_the_exit_code(
    error: BaseException, code: int, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, error)
    result = run_cli("train")
    assert (result.code, result.out, result.err.splitlines()) == (code, "", lines)


def test_a_disk_error_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError(28, "No space left on device", "out/model.safetensors"))
    code, _, err = run_cli("train")
    assert code == 1
    assert err.splitlines()[0] == "error: out/model.safetensors: no space left on device"
    assert len(err.splitlines()) == 2


def test_only_the_systems_words_are_lowercased(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError without them may hold a path."""
    fail_with(monkeypatch, OSError("Out/Model.bin is no checkpoint"))
    assert run_cli("train").err.splitlines()[0] == "error: Out/Model.bin is no checkpoint"


def test_a_bug_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        run_cli("train")


# --- the streams of a true process


def test_a_true_process_exits_with_the_code_and_keeps_the_streams_apart() -> None:
    assert subprocess_cli("--version") == (0, "nanogpt 0.1.0\n", "")
    failed = subprocess_cli("train", "--n-layer", "0")
    assert (failed.code, failed.out) == (2, "")
    assert failed.err.splitlines()[0] == (
        "error: flag --n-layer: n_layer must be a whole number from 1 to 1000, not 0"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [["init", "--list"], ["--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(
    args: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nanogpt … | head -n 0`: the pipe is closed before anything is written, or only when Python flushes."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed_pipe:
        done = subprocess.run(
            [sys.executable, "-m", "nanogpt_cli", *args],
            stdout=closed_pipe,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stream_that_cannot_show_a_character_shows_a_replacement() -> None:
    """A Windows pipe is cp1252."""
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    Path("input.txt").write_text("abc" * 500)
    prepare = ["prepare", "input.txt", "--json", "--data-dir", "你好"]
    for args, code in ((prepare, 0), (["prepare", "你好.txt"], 1)):
        command = [sys.executable, "-m", "nanogpt_cli", *args]
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == code
        assert b"Traceback" not in done.stderr
    assert b"there is no file ??.txt" in done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_poor_stream_shows_french_with_ordinary_spaces(encoding: str) -> None:
    """Not one of them has the narrow space between digits, and a question mark there would be read as one."""
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    Path("a.log").write_text("".join(f"iter {i}: loss 3.0, time 12345.67ms, mfu 1.00%\n" for i in range(30)))
    command = [sys.executable, "-m", "nanogpt_cli", "explain-log", "a.log", "--lang", "fr", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    text = done.stdout.decode(encoding)
    assert "12 345,67 ms" in text
    assert "?" not in text
    assert ("itération" in text) == (encoding != "ascii")


@pytest.mark.skipif(os.name == "nt", reason="a shell's way to close a stream")
@pytest.mark.parametrize("args", ["init --list", "--help", "--version"])
def test_a_closed_stdout_is_no_traceback(args: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m nanogpt_cli {args} >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in run_cli("init", "--template", "x").err
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in run_cli("init", "--template", "x").err  # not a terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31merror" in run_cli("init", "--template", "x").err


def test_quiet_silences_all_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console.stderr_console.cache_clear()
    for speak in (console.note, console.warn, console.next_step):
        speak("words", quiet=True)
    assert capsys.readouterr() == ("", "")
    for speak in (console.note, console.warn, console.next_step):
        speak("words")
    assert capsys.readouterr() == ("", "words\nwarning: words\nnext: words\n")

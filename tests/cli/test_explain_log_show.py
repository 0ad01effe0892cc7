"""`nanogpt explain-log` with --plot, --html, --markdown, --lang, several logs, and --follow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt_cli.cli import follow_screen
from nanogpt_cli.explain.languages import choose_language, languages
from tests.explain.samples import FIXTURES, eval_lines, falling, iter_lines, metrics
from tests.explain.test_rules import FORGETTING
from tests.helpers import run_cli, subprocess_cli

PAIR = FIXTURES / "pair.log"
CPU = FIXTURES / "shakespeare_cpu.log"


# --- curves and pages


def test_plot_in_a_pipe() -> None:
    result = run_cli("explain-log", CPU, "--plot")
    assert result.code == 0
    assert "Loss (nats per token)" in result.out
    assert "★ best validation loss: 3.2105 at iteration 16" in result.out
    assert "\x1b" not in result.out
    assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_plot_on_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text

    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    out = run_cli("explain-log", CPU, "--plot").out
    assert "\x1b[" in out
    assert max(Text.from_ansi(line).cell_len for line in out.splitlines()) <= columns


def test_no_color_keeps_panels_and_drops_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # conftest sets NO_COLOR
    out = run_cli("explain-log", CPU, "--plot").out
    assert "╭" in out
    assert "\x1b[3" not in out
    assert "\x1b[9" not in out


def test_a_page_is_written_and_named() -> None:
    result = run_cli("explain-log", CPU, "--html", "report.html")
    assert result.code == 0
    assert "wrote report.html (" in result.err
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "Summary" in result.out, "the explanation is shown as ever"


def test_an_earlier_page_is_replaced_and_nothing_is_left_beside_it() -> None:
    run_cli("explain-log", PAIR, "--html", "report.html")
    assert run_cli("explain-log", CPU, "--html", "report.html", "--quiet").code == 0
    assert "shakespeare_cpu" in Path("report.html").read_text(encoding="utf-8")
    assert [path.name for path in Path().iterdir()] == ["report.html"]


def test_a_log_is_never_replaced_by_a_page() -> None:
    """`explain-log --html train.log` would have been a slip that costs a log."""
    Path("train.log").write_text(iter_lines([4.0, 3.0]))
    code, out, err = run_cli("explain-log", CPU, "--html", "train.log")
    assert (code, out) == (2, "")
    assert "would replace a file that is no HTML page" in err
    assert Path("train.log").read_text() == iter_lines([4.0, 3.0])


@pytest.mark.parametrize(("target", "words"), [(".", "is a folder"), ("missing/x.html", "is missing")])
def test_a_page_that_cannot_be_written(target: str, words: str) -> None:
    code, _, err = run_cli("explain-log", CPU, "--html", target)
    assert code == 2
    assert words in err
    assert "hint: " in err


def test_a_page_on_standard_output() -> None:
    result = subprocess_cli("explain-log", CPU, "--html", "-")
    assert result.code == 0
    assert result.out.startswith("<!DOCTYPE html>")
    assert result.out.rstrip().endswith("</html>")


@pytest.mark.parametrize("flags", [(), ("--json",), ("--markdown",)])
def test_no_plotting_library_is_loaded_without_a_plot(flags: tuple[str, ...]) -> None:
    probe = (
        "import sys; from nanogpt_cli.cli.app import run; "
        f"assert run(['explain-log', {str(CPU)!r}, *{flags!r}]) == 0; "
        "assert not {'matplotlib', 'plotille', 'numpy', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_a_page_beside_json() -> None:
    result = run_cli("explain-log", CPU, "--json", "--html", "report.html")
    assert result.json()["best_val_iter"] == 16
    assert result.err == ""
    assert Path("report.html").exists()


def test_markdown() -> None:
    out = run_cli("explain-log", PAIR, "--markdown", "--plot").out
    assert out.startswith("## Summary\n\n")
    assert "```text\n" in out
    assert "### 1. warning: " in out


@pytest.mark.parametrize(
    "flags",
    [
        ("--json", "--markdown"),
        ("--json", "--plot"),
        ("--html", "-", "--json"),
        ("--html", "-", "--markdown"),
    ],
)
def test_forms_that_exclude_each_other(flags: tuple[str, ...]) -> None:
    code, out, err = run_cli("explain-log", CPU, *flags)
    assert (code, out) == (2, "")
    assert "hint: " in err


# --- lines


def test_at_and_every() -> None:
    out = run_cli("explain-log", CPU, "--at", "15").out
    assert "iter 15: loss" in out
    assert "iter 16: loss" not in out
    document = run_cli("explain-log", CPU, "--every", "5", "--json").json()
    assert [line["text"].split(":")[0] for line in document["lines"]] == [
        *("step 0", "iter 0", "iter 5", "iter 10", "iter 15"),
    ]


@pytest.mark.parametrize(
    "flags",
    [
        ("--at", "5-9"),
        ("--at", "x"),
        ("--every", "0"),
        ("--lines", "1", "--at", "1"),
        ("--lines", "1-2", "--every", "7"),
    ],
)
def test_lines_that_are_not_there(flags: tuple[str, ...]) -> None:
    code, out, _ = run_cli("explain-log", CPU, *flags)
    assert (code, out) == (2, "")


def test_lines_not_understood_are_shown_on_request() -> None:
    Path("x.log").write_text("hello there\n" + iter_lines([4.0, 3.0]))
    assert "hello there" not in run_cli("explain-log", "x.log").out
    out = run_cli("explain-log", "x.log", "--unread").out
    assert "Lines not understood: 1; the first 1" in out
    assert "1  hello there" in out
    unread = run_cli("explain-log", "x.log", "--unread", "--json").json()["unread"]
    assert unread == [{"line": 1, "text": "hello there"}]


# --- languages


def test_the_language_asked_for_comes_first() -> None:
    environment = {"NANOGPT_LANG": "xx", "LANG": "de_DE.UTF-8"}
    assert choose_language("en", environment) == "en"
    assert choose_language("", {"NANOGPT_LANG": "EN-us", "LC_ALL": "de_DE"}) == "en"
    assert choose_language("", {"LC_ALL": "", "LC_MESSAGES": "en_GB", "LANG": "de_DE"}) == "en"
    assert choose_language("", {"LANG": "de_DE.UTF-8"}) == "en", "no catalogue: English, without a word"


def test_an_unknown_language_is_a_mistake_of_who_typed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run_cli("explain-log", CPU, "--lang", "klingon")
    assert (code, out) == (2, "")
    assert "--lang: there is no language 'klingon'" in err
    monkeypatch.setenv("NANOGPT_LANG", "klingon")
    assert "NANOGPT_LANG: there is no language" in run_cli("explain-log", CPU).err


def test_the_document_names_its_language() -> None:
    for language in languages():
        assert run_cli("explain-log", CPU, "--lang", language, "--json").json()["language"] == language


# --- several logs


def two_logs() -> None:
    Path("a.log").write_text(eval_lines([(4.2, 4.2), (2.0, 2.1), (1.6, 1.8)]))
    Path("b.log").write_text(eval_lines([(4.2, 4.2), (2.5, 2.6), (2.0, 2.3)]))


def test_two_logs_are_compared() -> None:
    two_logs()
    code, out, err = run_cli("explain-log", "a.log", "b.log", "--plot")
    assert (code, err) == (0, "next: nanogpt explain-log a.log\n")
    assert "After the same 500 iterations a.log is better: 1.8000 against 2.3000 of b.log" in " ".join(
        out.split()
    )
    assert "* 1.8000" in out
    assert "x b.log" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_comparison_as_json_markdown_and_page() -> None:
    two_logs()
    document = run_cli("explain-log", "a.log", "b.log", "--json", "--html", "both.html").json()
    assert document["groups"][0]["standings"][0]["winner"] == "a.log"
    assert "Comparison of 2 runs" in Path("both.html").read_text(encoding="utf-8")
    assert "| **1.8000** |" in run_cli("explain-log", "a.log", "b.log", "--markdown").out


def test_long_names_become_letters() -> None:
    two_logs()
    for name in "ab":
        Path(f"{name}.log").rename(f"{name * 30}.log")
    out = run_cli("explain-log", f"{'a' * 30}.log", f"{'b' * 30}.log").out
    assert f"A  {'a' * 30}.log" in out
    assert "A is better" in out


@pytest.mark.parametrize(
    "flags",
    [("--lines", "5"), ("--at", "5"), ("--every", "2"), ("--unread",), ("--follow",), ("--gpu", "H100")],
)
def test_what_speaks_of_one_log_does_not_go_with_several(flags: tuple[str, ...]) -> None:
    two_logs()
    code, out, err = run_cli("explain-log", "a.log", "b.log", *flags)
    assert (code, out) == (2, "")
    assert flags[0] in err


# --- following


class Clock:
    """Stands for time.sleep: each nap lets the log grow by the next piece; then somebody presses Ctrl-C."""

    def __init__(self, path: Path, pieces: list[str]) -> None:
        self._path, self._pieces = path, pieces

    def __call__(self, seconds: float) -> None:
        assert seconds == follow_screen.POLL_SECONDS
        if not self._pieces:
            raise KeyboardInterrupt
        with self._path.open("a") as file:
            file.write(self._pieces.pop(0))


def grow(monkeypatch: pytest.MonkeyPatch, name: str, text: str, size: int) -> None:
    lines = text.splitlines(keepends=True)
    pieces = ["".join(lines[i : i + size]) for i in range(0, len(lines), size)]
    monkeypatch.setattr(follow_screen.time, "sleep", Clock(Path(name), pieces))
    monkeypatch.setattr(follow_screen, "MAX_LOAD", 1e9)  # explain at every look


def test_following_a_log_that_turns_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    grow(monkeypatch, "train.log", eval_lines(FORGETTING), 1)
    code, out, err = run_cli("explain-log", "train.log", "--follow")
    assert code == 130
    assert err.splitlines()[0] == "following train.log; Ctrl-C ends it"
    assert "Traceback" not in err
    lines = out.splitlines()
    assert lines[0].startswith("iteration ")
    assert any("note: Healthy." in line for line in lines)
    assert any("no longer: Healthy" in line for line in lines)
    assert any("verfitting" in line for line in lines)
    assert len(lines) < 12


def test_following_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    grow(monkeypatch, "metrics.jsonl", metrics(falling(4.2, 1.9, 21), end="finished"), 7)
    code, out, err = run_cli("explain-log", "metrics.jsonl", "--follow", "--html", "live.html")
    assert code == 0
    assert "Finished" in out
    assert "next: " in err
    assert "Finished" in Path("live.html").read_text(encoding="utf-8")


def test_following_in_json_is_a_document_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    grow(monkeypatch, "metrics.jsonl", metrics(falling(4.2, 1.9, 21), end="finished"), 7)
    result = run_cli("explain-log", "metrics.jsonl", "--follow", "--json")
    documents = [json.loads(line) for line in result.out.splitlines()]
    assert len(documents) >= 2
    assert [finding["code"] for finding in documents[-1]["findings"]].count("finished") == 1
    assert result.err == ""


def test_following_on_a_terminal_leaves_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    grow(monkeypatch, "train.log", eval_lines(FORGETTING), 3)
    result = run_cli("explain-log", "train.log", "--follow")
    assert result.code == 130
    assert result.out.rstrip().endswith("╯")
    assert "verfitting" in result.out.split("Waiting")[-1]


def test_following_a_pipe_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_screen, "POLL_SECONDS", 0.01)
    result = run_cli("explain-log", "-", "--follow", stdin=iter_lines(falling(4.2, 1.9, 60)))
    assert result.code == 0
    assert "Healthy" in result.out


def test_following_a_pipe_that_holds_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_screen, "POLL_SECONDS", 0.01)
    result = run_cli("explain-log", "-", "--follow", stdin="Dear diary\n")
    assert (result.code, result.out) == (1, "")
    assert "error: standard input: none of its 1 lines" in result.err


@pytest.mark.parametrize("flags", [("--lines", "5"), ("--markdown",), ("--unread",), ("--html", "-")])
def test_what_does_not_go_with_following(flags: tuple[str, ...]) -> None:
    code, _, err = run_cli("explain-log", CPU, "--follow", *flags)
    assert code == 2
    assert flags[0] in err

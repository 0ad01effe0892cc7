"""`nanogpt prepare` as a user types it: report, JSON, errors, and nothing for terminals in a pipe."""

import io
import json
import os
import shlex
import signal
from pathlib import Path

import pytest
from rich.console import Console

from nanogpt_cli.cli import console
from nanogpt_cli.cli.reporters.progress_bar import ProgressBar
from nanogpt_cli.events import Progress
from tests.helpers import run_cli

TEXT = "Now is the winter of our discontent\nMade glorious summer by this sun of York.\n" * 30


@pytest.fixture(autouse=True)
def input_txt(tmp_path: Path) -> Path:
    path = tmp_path / "input.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_report() -> None:
    code, out, err = run_cli("prepare", "input.txt", "--tokenizer", "char")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "dataset    data/input (ready)",
        f"tokenizer  char, {len(set(TEXT))} ids, uint16",
        "train      2,106 tokens from 2,106 bytes of text",
        "val        234 tokens from 234 bytes of text",
        "on average 1.00 bytes per token",
        "next: nanogpt train",
    ]
    assert Path("data/input/train.bin").stat().st_size == 2 * 2106


def test_second_time() -> None:
    run_cli("prepare", "input.txt")
    code, _, err = run_cli("prepare", "input.txt")
    assert code == 0
    assert "(already prepared, unchanged)" in err
    assert err.splitlines()[-1] == "next: nanogpt train --dataset input"
    code, _, err = run_cli("prepare", "input.txt", "--tokenizer=byte")
    assert code == 1
    assert err.startswith("error: data/input already holds another dataset")
    hint = err.partition("to replace it: ")[2].partition(";")[0]
    assert run_cli(*shlex.split(hint)[1:]).code == 0  # what the hint says, typed
    assert "byte, 256 ids" in run_cli("prepare", "input.txt", "--tokenizer=byte").err


def test_json_is_one_document() -> None:
    result = run_cli("prepare", "input.txt", "--tokenizer", "byte", "--val_fraction=0.25", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.json()
    assert set(document) == {
        *("schema_version", "dataset", "path", "tokenizer", "vocab_size", "dtype"),
        *("splits", "bytes_per_token", "unchanged", "ids_used", "split_rule"),
    }
    assert document["splits"]["val"] == {"tokens": 585, "bytes": 585, "documents": 1}
    assert json.loads(result.out)["dataset"] == "input"


def test_quiet() -> None:
    assert run_cli("prepare", "input.txt", "--quiet") == (0, "", "")
    assert run_cli("prepare", "missing.txt", "--quiet").err.startswith("error: there is no file")


def test_name_and_data_dir() -> None:
    code, _, err = run_cli("prepare", "input.txt", "--name", "york", "--data-dir", "elsewhere")
    assert code == 0
    assert Path("elsewhere/york/meta.json").is_file()
    assert err.splitlines()[-1] == "next: nanogpt train --dataset elsewhere/york"


def test_advice() -> None:
    Path("rare.txt").write_text("".join(chr(0x4E00 + i) for i in range(6000)), encoding="utf-8")
    assert "warning: 6,000 distinct characters" in run_cli("prepare", "rare.txt").err


def test_the_hint_of_a_short_split_works_when_typed() -> None:
    Path("tiny.txt").write_text("abc" * 100)
    code, _, err = run_cli("prepare", "tiny.txt")
    assert code == 1
    assert err.splitlines()[0] == ("error: val has only 30 tokens, and one window of block_size 64 needs 65")
    words = err.splitlines()[1].split()
    assert words[1] == "--val-fraction"
    assert run_cli("prepare", "tiny.txt", "--val-fraction", words[2].rstrip(",")).code == 0


def test_a_validation_text_of_its_own() -> None:
    Path("val.txt").write_text("Grim-visaged war hath smooth'd his wrinkled front.\n" * 5)
    result = run_cli("prepare", "input.txt", "--val-file", "val.txt", "--json")
    document = result.json()
    assert document["split_rule"] == "val_file"
    assert document["splits"]["train"] == {"tokens": 2340, "bytes": 2340, "documents": 1}
    assert document["splits"]["val"] == {"tokens": 255, "bytes": 255, "documents": 1}
    assert document["vocab_size"] == len(set(TEXT) | set(Path("val.txt").read_text()))
    meta = json.loads(Path("data/input/meta.json").read_text(encoding="utf-8"))
    assert meta["val_source"]["label"] == "val.txt"
    again = run_cli("prepare", "input.txt", "--val-file", "val.txt", "--json")
    assert again.json()["unchanged"]
    Path("val.txt").write_text("Grim-visaged war.\n" * 9)
    hint = run_cli("prepare", "input.txt", "--val-file", "val.txt").err.splitlines()[1]
    assert "nanogpt prepare input.txt --tokenizer char --name input --val-file val.txt --overwrite" in hint
    clash = run_cli("prepare", "input.txt", "--val-file", "val.txt", "--val-fraction", "0.1")
    assert clash.code == 2
    assert "exclude each other" in clash.err


def test_a_validation_text_that_is_not_there() -> None:
    missing = run_cli("prepare", "input.txt", "--val-file", "elsewhere/v.txt")
    assert missing.err.splitlines() == [
        "error: there is no file elsewhere/v.txt",
        "hint: check the path that --val-file gives, or leave --val-file out: "
        "a share of the text validates then",
    ]
    Path("val.txt").write_text("Grim-visaged war.\n" * 9)
    assert run_cli("prepare", "input.txt", "--val-file", "vla.txt").err.endswith("hint: --val-file val.txt\n")
    assert run_cli("prepare", "inptu.txt", "--val-file", "val.txt").err.splitlines() == [
        "error: there is no file inptu.txt",
        "hint: nanogpt prepare input.txt --tokenizer char",
    ]
    assert "standard input, -, can be read only once" in run_cli("prepare", "-", "--val-file", "-").err


def test_max_docs_leaves_the_validation_text_whole() -> None:
    Path("rows.jsonl").write_text(
        '{"text": "Now is the winter of our discontent made glorious summer.\\n"}\n' * 9
    )
    document = run_cli(
        *("prepare", "rows.jsonl", "--val-file", "rows.jsonl", "--max-docs", "2", "--json")
    ).json()
    assert document["splits"]["train"]["documents"] == 2
    assert document["splits"]["val"]["documents"] == 9


def test_documents_and_ids_in_the_report() -> None:
    for number in range(20):
        Path(f"texts/{number}.txt").parent.mkdir(exist_ok=True)
        Path(f"texts/{number}.txt").write_text(f"Text number {number}.\n" * 10)
    _, _, err = run_cli("prepare", "texts", "-t", "byte")
    assert " documents" in err
    assert "byte, 256 ids (22 of them occur), uint16" in err
    assert (
        "data/texts already holds another dataset"
        in run_cli("prepare", "texts", "-t", "byte", "--seed", "2").err
    )
    assert "--seed 2 --overwrite" in run_cli("prepare", "texts", "-t", "byte", "--seed", "2").err
    assert run_cli("prepare", "texts", "-t", "byte", "--seed", "-1").code == 2


def test_the_projects_block_size_counts() -> None:
    Path("nanogpt.toml").write_text("block_size = 256\n", encoding="utf-8")
    assert "one window of block_size 256 needs 257" in run_cli("prepare", "input.txt").err
    assert run_cli("prepare", "input.txt", "--block-size", "128").code == 0
    Path("nanogpt.toml").write_text('preset = "cpu-tiny"\n', encoding="utf-8")
    assert run_cli("prepare", "input.txt").code == 0


@pytest.mark.parametrize(
    ("args", "code", "message", "hint"),
    [
        (["missing.txt"], 1, "there is no file missing.txt", "nanogpt prepare input.txt"),
        (["none/*.txt"], 1, "there is no file none", "nanogpt prepare python-docs"),
        (["input.txt", "-t", "chr"], 2, "there is no tokenizer 'chr'", "--tokenizer char, or another of"),
        (["input.txt", "--val-fraction", "2"], 2, "--val-fraction must lie between 0 and 1", "0.1"),
        (
            ["input.txt", "--val-fraction", "x"],
            2,
            "invalid value for '--val-fraction'",
            "nanogpt prepare --help",
        ),
        (["input.txt", "--name", "a/b"], 2, "'a/b' cannot name a dataset", "--name a-b"),
        (["input.txt", "--no-such-flag"], 2, "o such option", "nanogpt prepare --help"),
        ([], 2, "issing argument", "nanogpt prepare --help"),
    ],
)
def test_errors(args: list[str], code: int, message: str, hint: str) -> None:
    result = run_cli("prepare", *args)
    assert (result.code, result.out) == (code, "")
    lines = result.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert not Path("data").exists()


def test_no_escape_codes_in_a_pipe() -> None:
    for result in (run_cli("prepare", "input.txt"), run_cli("prepare", "input.txt", "--json")):
        assert "\x1b" not in result.out + result.err
        assert "\r" not in result.err


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")
    console.stderr_console.cache_clear()
    try:
        with ProgressBar(quiet=False) as bar:
            bar.emit(Progress(task="encoding", done=500, total=1000, unit="bytes"))
        shown = capsys.readouterr()
    finally:
        console.stderr_console.cache_clear()
    assert "encoding" in shown.err
    assert "0.5/1.0 kB" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("width", [30, 45, 60, 65, 80, 200])
def test_the_bar_never_wraps(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second line is not taken back by the next redraw, and fills the screen."""
    drawn = Console(file=io.StringIO(), force_terminal=True, width=width)
    monkeypatch.setattr(console, "stderr_console", lambda: drawn)
    bar = ProgressBar(quiet=False)
    task = "verifying edu_fineweb_train_000001.bin"
    bar.emit(Progress(task=task, done=999_900_000, total=999_900_000, unit="bytes"))
    page = Console(file=io.StringIO(), width=width)
    page.print(bar._bar.get_renderable())
    assert isinstance(page.file, io.StringIO)
    (line,) = page.file.getvalue().splitlines()
    assert line.startswith("verifying …00001.bin")


def test_help_is_grouped() -> None:
    result = run_cli("prepare", "--help")
    assert result.code == 0
    for words in ("--tokenizer", "--val-fraction", "--overwrite", "Output", "python-docs"):
        assert words in result.out


def test_in_a_project_the_next_step_is_the_projects() -> None:
    """It said --preset cpu-tiny beside a nanogpt.toml that set another model."""
    Path("input.txt").write_text("To be, or not to be.\n" * 800, encoding="utf-8")
    Path("nanogpt.toml").write_text('preset = "gpt2-124m"\n', encoding="utf-8")
    assert run_cli("prepare", "input.txt").err.splitlines()[-1] == "next: nanogpt train"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("overwrite", [False, True])
def test_sigterm_leaves_nothing_half_done(overwrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if overwrite:
        assert run_cli("prepare", "input.txt").code == 0
    before = sorted(Path().glob("data/**/*"))

    def killed(*_: object) -> None:
        assert list(Path("data").rglob(".tmp-*"))
        os.kill(os.getpid(), signal.SIGTERM)

    # Should it not be caught, the test fails and not the whole run of tests.
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    monkeypatch.setattr("nanogpt_cli.data.prepare.save_tokenizer", killed)
    try:
        code = run_cli("prepare", "input.txt", "--overwrite").code
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert code == 143
    assert [path for path in sorted(Path().glob("data/**/*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]
    assert not list(Path("data").rglob(".tmp-*"))

"""nanoGPT's lines, the two records, which screen is chosen, and the words they share."""

import dataclasses
import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from nanogpt_cli import events
from nanogpt_cli.cli import console as streams
from nanogpt_cli.cli.reporters import train_reporter
from nanogpt_cli.cli.reporters.jsonl import JsonLinesReporter, to_record
from nanogpt_cli.cli.reporters.plain import PlainReporter, plain_lines
from nanogpt_cli.cli.reporters.run_files import RunFilesReporter, drop_records_from
from nanogpt_cli.cli.reporters.trackers.reporter import Trackers
from nanogpt_cli.cli.reporters.words import duration, ending_sentence, learning_rate, percent, rate, visible
from nanogpt_cli.events import (
    EvalStarted,
    Notice,
    Tee,
    Warned,
)
from tests.cli.reporter_events import drawn, ended, evaluated, saved, started, step

# --- nanoGPT's lines


def test_nanogpts_lines() -> None:
    assert plain_lines(step(10)) == ["iter 10: loss 3.1234, time 12.34ms, mfu 5.12%"]
    assert plain_lines(step(0, mfu=None)) == ["iter 0: loss 3.1234, time 12.34ms"]
    assert plain_lines(evaluated(250)) == ["step 250: train loss 1.9000, val loss 2.0000"]
    assert plain_lines(drawn(250)) == ["sample 250: First Citizen:⏎Before we proceed"]
    assert plain_lines(saved(250)) == ["saving checkpoint to out/run"]
    assert plain_lines(events.Compiling()) == ["compiling the model... (takes a ~minute)"]
    assert plain_lines(EvalStarted(iter_num=3)) == []


def test_the_lines_before_a_run() -> None:
    assert plain_lines(started())[:7] == [
        "tokens per iteration will be: 768",
        "found vocab_size = 65 (inside data/input/meta.json)",
        "Initializing a new model from scratch",
        "number of parameters: 0.80M",
        "num decayed parameter tensors: 18, with 802,944 parameters",
        "num non-decayed parameter tensors: 9, with 1,152 parameters",
        "using fused AdamW: True",
    ]
    assert plain_lines(started(vocab_source=None, vocab_size=50304))[1] == (
        "defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)"
    )
    assert plain_lines(started(resumed_from_iter=5))[2] == "Resuming training from out/input-cpu-tiny"
    gpt2 = dataclasses.replace(started().config, init_from="gpt2")
    assert plain_lines(started(config=gpt2))[2] == "Initializing from OpenAI GPT-2 weights: gpt2"


def test_plain_lines_are_flushed_one_by_one() -> None:
    class Stream(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    stream = Stream()
    PlainReporter(stream).emit(Warned(message="w"))
    assert stream.flushed == "warning: w\n"


# --- The records


def test_every_event_that_is_recorded() -> None:
    assert to_record(step(10)) == {
        "v": 1,
        "event": "step",
        "step": 10,
        "loss": 3.12341,
        "lr": 1e-3,
        "grad_norm": 1.2345,
        "clipped": 0.5,
        "step_ms": 12.3449,
        "tok_per_sec": 62_215.0,
        "mfu": 0.05121,
        "tokens": 768 * 11,
        "epochs": 768 * 11 / 1_003_854,
    }
    assert to_record(evaluated(250)) == {
        "v": 1,
        "event": "eval",
        "step": 250,
        "train_loss": 1.9,
        "val_loss": 2.00004,
        "lr": 1e-3,
        "best": True,
        "eval_ms": 2.0,
    }
    assert to_record(saved(250)) == {
        "v": 1,
        "event": "checkpoint",
        "step": 250,
        "path": "p",
        "out_dir": "out/run",
        "best": True,
        "save_ms": 5.0,
    }
    assert to_record(drawn(250)) == {
        "v": 1,
        "event": "sample",
        "step": 250,
        "prompt": "\n",
        "text": "First Citizen:\nBefore we proceed",
        "tokens": 32,
        "sample_ms": 40.0,
    }
    assert to_record(Warned(message="w")) == {"v": 1, "event": "warning", "message": "w"}
    assert to_record(Notice(message="n")) == {"v": 1, "event": "notice", "message": "n"}
    assert to_record(EvalStarted(iter_num=1)) is None
    assert to_record(events.Compiling()) is None


def test_what_is_unknown_is_left_out_and_what_is_not_finite_is_text() -> None:
    record = to_record(step(0, mfu=None, grad_norm=None, loss=math.nan, tokens_per_second=math.inf))
    assert record is not None
    assert not {"mfu", "grad_norm"} & set(record)
    assert (record["loss"], record["tok_per_sec"]) == ("nan", "inf")


def test_every_line_is_json_without_escapes() -> None:
    stream = io.StringIO()
    reporter = JsonLinesReporter(stream)
    for event in (
        started(),
        step(0, loss=math.nan),
        evaluated(0),
        saved(0),
        ended(),
        Notice(message="中\nx"),
    ):
        reporter.emit(event)
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        "run",
        "step",
        "eval",
        "checkpoint",
        "end",
        "notice",
    ]
    assert "NaN" not in stream.getvalue()
    assert "中" in lines[-1]


def records(path: Path) -> list[tuple[str, int | None]]:
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(record["event"], record.get("step")) for record in map(json.loads, lines)]


def test_what_was_said_before_the_run_is_recorded_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    reporter = RunFilesReporter(pytest.fail)
    reporter.emit(Notice(message="using preset cpu-tiny"))
    reporter.emit(started(run_dir=str(tmp_path / "run")))
    reporter.emit(step(0))
    reporter.close()
    assert records(tmp_path / "run") == [("notice", None), ("run", None), ("step", 0)]
    assert (tmp_path / "run" / "train.log").read_text(encoding="utf-8").startswith("using preset cpu-tiny\n")


@pytest.mark.parametrize("done", [(), ("eval",), ("sample",), ("eval", "sample")])
def test_a_resumed_run_drops_what_it_will_do_again(done: tuple[str, ...], tmp_path: Path) -> None:
    """Killed in the line of step 13, after the checkpoint at 10, which a stop may have saved before the
    evaluation and the sample: then they are made once more. They were recorded twice."""
    reporter = RunFilesReporter(pytest.fail)
    reporter.emit(started(run_dir=str(tmp_path)))
    for event in (evaluated(0), step(5), evaluated(10), drawn(10), saved(10), step(10), drawn(12), step(12)):
        reporter.emit(event)
    reporter.close()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"v":1,"event":"step","ste')

    again = RunFilesReporter(pytest.fail)
    again.emit(started(run_dir=str(tmp_path), resumed_from_iter=10, resumed_with=done))
    again.emit(step(10))
    again.close()
    assert records(tmp_path) == [
        ("run", None),
        ("eval", 0),
        ("step", 5),
        *((event, 10) for event in done),
        ("checkpoint", 10),
        ("run", None),
        ("step", 10),
    ]
    again_logged = [line.split(":")[0] for line in (tmp_path / "train.log").read_text("utf-8").splitlines()]
    assert again_logged.count("step 10") == done.count("eval")
    # In the log all is cut from the first line that will be written again.
    assert again_logged.count("sample 10") == (done == ("eval", "sample"))


@pytest.mark.parametrize("line", ["[]", "3", "null", '"x"', "{", "", '{"step": "ten"}', "\ufffd"])
def test_lines_that_are_no_records_are_dropped(line: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = '{"v":1,"event":"step","step":1}'
    path.write_text(f"{line}\n{good}\n", encoding="utf-8")
    drop_records_from(path, 5, ())
    assert path.read_text(encoding="utf-8") == good + "\n"


# --- Which screen


@pytest.mark.parametrize(
    ("environment", "is_terminal", "quiet", "expected"),
    [
        ({}, True, False, "LiveReporter"),
        ({}, False, False, "PlainReporter"),
        ({"TERM": "dumb"}, True, False, "PlainReporter"),
        ({}, True, True, "NullReporter"),
    ],
)
def test_the_screen_suits_stderr(
    environment: dict[str, str],
    is_terminal: bool,
    quiet: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = Console(force_terminal=is_terminal, file=io.StringIO())
    monkeypatch.setattr(streams, "stderr_console", lambda: console)
    reporter = train_reporter(quiet=quiet)
    assert isinstance(reporter, Tee)
    trackers, heard = reporter.reporters
    assert isinstance(trackers, Trackers)
    assert isinstance(heard, Tee)
    assert [type(part).__name__ for part in heard.reporters] == ["RunFilesReporter", expected]


# --- Words


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, "0:00"),
        (0, "0:00"),
        (7.4, "0:07"),
        (59.6, "1:00"),
        (750, "12:30"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (12_300, "3:25:00"),
        (86_399, "23:59:59"),
        (187_800, "2d 04:10:00"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0.0"),
        (9.94, "9.9"),
        (99.9, "99.9"),
        (150, "150"),
        (1000, "1.0k"),
        (42_100, "42.1k"),
        (420_000, "420k"),
        (1.5e6, "1.5M"),
        (989e12, "989T"),
        (2.5e15, "2.5P"),
    ],
)
def test_rate(number: float, expected: str) -> None:
    assert rate(number) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e-3, "1.0e-3"), (6e-4, "6.0e-4"), (0.0, "0.0e0"), (1.0, "1.0e0"), (3e-10, "3.0e-10")],
)
def test_learning_rate(value: float, expected: str) -> None:
    assert learning_rate(value) == expected


def test_percent() -> None:
    assert [percent(value) for value in (None, 0.0, 0.05121, 1.0)] == ["", "0.0%", "5.1%", "100.0%"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\r\nc\td", "a⏎b⏎c⇥d"),
        ("\x1b[31mred\x07\x00\x7f\x9b", "�[31mred����"),
        ("\u202eback\u2066\ufeff\u2028\ud800", "�back����"),
        ("中文 é 👩\u200d👧", "中文 é 👩\u200d👧"),
    ],
)
def test_any_text_becomes_one_harmless_line(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_a_sample_cannot_pass_for_a_line_of_the_log() -> None:
    (line,) = plain_lines(drawn(5, "\niter 6: loss 0.0001, time 1.00ms\nstep 9: train loss 1, val loss 1"))
    assert line == "sample 5: iter 6: loss 0.0001, time 1.00ms⏎step 9: train loss 1, val loss 1"


@pytest.mark.parametrize("reason", ["finished", "eval_only", "SIGINT", "SIGTERM", "nonfinite"])
def test_every_ending_has_a_sentence(reason: str) -> None:
    sentence = ending_sentence(ended(reason=reason, best_val_loss=None, best_val_iter=None))
    assert re.fullmatch(r"[a-z ]+ after 2000 iterations in 1:40", sentence)

"""The screens of a run: the live table at every width, nanoGPT's lines, the two records, and the words."""

import dataclasses
import errno
import io
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from nanogpt_cli import events
from nanogpt_cli.cli import console as streams
from nanogpt_cli.cli.reporters import train_reporter
from nanogpt_cli.cli.reporters.jsonl import JsonLinesReporter, to_record
from nanogpt_cli.cli.reporters.live import LiveReporter, build_table, fitting_columns
from nanogpt_cli.cli.reporters.plain import PlainReporter, plain_lines
from nanogpt_cli.cli.reporters.run_files import RunFilesReporter, drop_records_from
from nanogpt_cli.cli.reporters.words import duration, ending_sentence, learning_rate, percent, rate
from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.events import (
    CheckpointSaved,
    EvalDone,
    EvalStarted,
    Notice,
    RunEnded,
    RunStarted,
    StepLogged,
    Tee,
    Warned,
)

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def started(**changes: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "config": TrainConfig(max_iters=2000, n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12),
        "run_dir": "out/input-cpu-tiny",
        "resumed_from_iter": None,
        "device": "cpu (Some Processor With A Rather Long Name @ 2.00GHz, 2 threads)",
        "dtype": "bfloat16",
        "dtype_reason": "this CPU multiplies bfloat16 in hardware; weights stay float32",
        "compile": False,
        "compile_reason": "on cpu compiling takes longer than short runs save",
        "world_size": 1,
        "n_params": 795_904,
        "n_decay_tensors": 18,
        "n_decay_params": 802_944,
        "n_nodecay_tensors": 9,
        "n_nodecay_params": 1152,
        "fused_adamw": True,
        "tokens_per_iter": 768,
        "micro_batches": 1,
        "vocab_size": 65,
        "dataset_dir": "data/input",
        "vocab_source": "data/input/meta.json",
        "tokenizer": "char",
        "train_tokens": 1_003_854,
        "val_tokens": 111_540,
        "epochs": 1.53,
        "expected_first_loss": math.log(65),
        "flops_per_token": 5.17e6,
        "peak_flops": 2.5e11,
        "peak_source": "measured: bfloat16 matrix products of 1024 on this device",
    }
    return RunStarted(**{**fields, **changes})


def step(iter_num: int, **changes: Any) -> StepLogged:
    fields: dict[str, Any] = {
        "iter_num": iter_num,
        "loss": 3.12341,
        "lr": 1e-3,
        "grad_norm": 1.2345,
        "step_ms": 12.3449,
        "tokens_per_second": 62_215.0,
        "mfu": 0.05121,
        "eta_seconds": 93.0,
        "tokens_seen": 768 * (iter_num + 1),
    }
    return StepLogged(**{**fields, **changes})


def evaluated(iter_num: int, *, best: bool = True) -> EvalDone:
    return EvalDone(iter_num=iter_num, train_loss=1.9, val_loss=2.00004, lr=1e-3, best=best, eval_ms=2.0)


def saved(iter_num: int) -> CheckpointSaved:
    return CheckpointSaved(iter_num=iter_num, path="p", out_dir="out/run", best=True, save_ms=5.0)


def ended(**changes: Any) -> RunEnded:
    fields: dict[str, Any] = {
        "reason": "finished",
        "run_dir": "out/input-cpu-tiny",
        "iters": 2000,
        "final_train_loss": 1.7,
        "final_val_loss": 1.88574,
        "best_val_loss": 1.88574,
        "best_val_iter": 2000,
        "best_checkpoint": "out/input-cpu-tiny/checkpoints/iter_00002000",
        "median_ms_per_iter": 12.3,
        "tokens_per_second": 62_000.0,
        "mfu": 0.051,
        "peak_flops": 2.5e11,
        "peak_flops_source": "measured",
        "wall_seconds": 100.0,
    }
    return RunEnded(**{**fields, **changes})


# --- The live table


def terminal(width: int, height: int = 24) -> Console:
    return Console(
        force_terminal=True,
        width=width,
        height=height,
        file=io.StringIO(),
        color_system="truecolor",
        legacy_windows=False,
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return ANSI.sub("", console.file.getvalue())


def a_run(console: Console, n_evals: int = 3) -> LiveReporter:
    """The events of a run up to its last step."""
    reporter = LiveReporter(console)
    reporter.emit(Notice(message="training on data/input"))
    reporter.emit(started())
    for number in range(n_evals):
        reporter.emit(EvalStarted(iter_num=250 * number))
        reporter.emit(evaluated(250 * number))
        reporter.emit(saved(250 * number))
        for iter_num in range(250 * number, 250 * number + 250, 50):
            reporter.emit(step(iter_num))
    return reporter


def frame_lines(reporter: LiveReporter, width: int, height: int) -> list[str]:
    canvas = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    canvas.print(reporter.frame(width, height))
    return text_of(canvas).removesuffix("\n").split("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_nothing_on_the_screen_is_wider_than_the_terminal(width: int) -> None:
    console = terminal(width)
    reporter = a_run(console)
    reporter.emit(Warned(message="something the user should know, in a sentence wider than most terminals"))
    reporter.emit(ended())
    reporter.close()
    written = re.split(r"[\n\r]", text_of(console))
    assert max(cell_len(line) for line in written) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("height", [8, 12, 24])
@pytest.mark.parametrize("n_evals", [1, 12])
def test_every_frame_fits_the_terminal(width: int, height: int, n_evals: int) -> None:
    """One line stays free for the cursor, or the terminal would scroll at every refresh."""
    reporter = a_run(terminal(width, height), n_evals)
    lines = frame_lines(reporter, width, height)
    reporter.close()
    assert len(lines) <= height - 1
    assert max(cell_len(line) for line in lines) <= width
    assert "train loss" in lines[0]
    assert str(250 * (n_evals - 1) + 200) in lines[-3], "the latest iteration is the last row"
    assert "% · " in lines[-1]


def test_columns_leave_in_the_order_of_their_importance() -> None:
    seen = []
    for width in range(120, 10, -1):
        keys = [column.key for column in fitting_columns(width)]
        if not seen or seen[-1] != keys:
            seen.append(keys)
    left = [(set(before) - set(after)).pop() for before, after in itertools.pairwise(seen)]
    assert left[:6] == ["norm", "tokens", "lr", "eta", "mfu", "ms"]
    assert {"iter", "train", "val"} <= set(seen[-1])


@pytest.mark.parametrize(
    ("width", "shown", "missing"),
    [
        (120, ["grad norm", "tok/s", "MFU", "ETA", "lr"], []),
        (80, ["ms/iter", "tok/s", "MFU", "ETA", "lr"], []),
        (60, ["iter", "train loss", "val loss", "ms/iter", "MFU"], ["grad norm"]),
    ],
)
def test_what_each_width_shows(width: int, shown: list[str], missing: list[str]) -> None:
    reporter = a_run(terminal(width))
    header = frame_lines(reporter, width, 24)[0]
    reporter.close()
    assert [name for name in shown if name not in header] == []
    assert [name for name in missing if name in header] == []


def test_a_row_holds_the_numbers_of_its_step() -> None:
    reporter = a_run(terminal(120))
    row = frame_lines(reporter, 120, 24)[-3].split()
    reporter.close()
    assert row == ["700", "3.1234", "1.0e-3", "1.23", "12.3", "62.2k", "5.1%", "1:33"]


def test_values_that_are_unknown_are_left_empty() -> None:
    reporter = LiveReporter(terminal(120))
    reporter.emit(started(peak_flops=None))
    reporter.emit(step(0, grad_norm=None, mfu=None, eta_seconds=None))
    row = frame_lines(reporter, 120, 24)[-3].split()
    reporter.close()
    assert row == ["0", "3.1234", "1.0e-3", "12.3", "62.2k"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_values_wider_than_their_columns_do_not_break_the_table(width: int) -> None:
    reporter = LiveReporter(terminal(width))
    reporter.emit(started())
    reporter.emit(
        step(12_345_678, loss=123_456.7, grad_norm=98_765.4, step_ms=1_234_567.0, eta_seconds=9e6, lr=1.5e-11)
    )
    lines = frame_lines(reporter, width, 24)
    reporter.close()
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) == 4  # header, row, bar, progress: nothing wrapped


def test_a_resize_counts_from_the_next_frame_on() -> None:
    reporter = a_run(terminal(120))
    wide, narrow = frame_lines(reporter, 120, 40), frame_lines(reporter, 60, 10)
    reporter.close()
    assert "grad norm" in wide[0]
    assert "grad norm" not in narrow[0]
    assert len(narrow) <= 9 < len(wide)


def test_steps_pass_evaluations_stay() -> None:
    reporter = a_run(terminal(120, 60))
    iters = [line.split()[0] for line in frame_lines(reporter, 120, 60)[1:-2]]
    reporter.close()
    assert iters == ["0", "0", "250", "250", "500", "500", "500", "550", "600", "650", "700"]


def test_the_progress_line() -> None:
    reporter = a_run(terminal(80))
    line = frame_lines(reporter, 80, 24)[-1]
    reporter.emit(EvalStarted(iter_num=750))
    busy = frame_lines(reporter, 80, 24)[-1]
    reporter.close()
    assert re.fullmatch(r"701/2000 · 35% · 0:\d\d elapsed · 1:33 to go", line.rstrip())
    assert busy.rstrip().endswith("evaluating")


def test_the_panel_before_a_run_works_its_numbers_out() -> None:
    console = terminal(120)
    a_run(console).close()
    text = text_of(console)
    for words in (
        "0.80M parameters: 4 layers, 4 heads, 128 wide",
        "sequences × 64 tokens = 768 per iteration",
        "1,003,854 train + 111,540 val tokens (char)",
        "about 4.1744 = ln(65), a blind guess",
        "250GFLOP/s, measured: bfloat16 matrix products",
        "1.53 in 2,000 iterations",
        "bfloat16: this CPU multiplies bfloat16 in hardware",
    ):
        assert words in text


def test_the_end_keeps_the_whole_table_and_names_the_best_checkpoint() -> None:
    console = terminal(100)
    reporter = a_run(console, n_evals=2)
    assert isinstance(console.file, io.StringIO)
    console.file.truncate(0)
    reporter.emit(ended())
    reporter.close()
    text = text_of(console)
    assert "finished after 2000 iterations in 1:40, best val loss 1.8857 at iteration 2000" in text
    assert "out/input-cpu-tiny/checkpoints/iter_00002000" in text
    assert "12.3 ms/iter, 62.0k tokens/s, MFU 5.1%; 1:40 in all" in text
    assert len(re.findall(r"(?m)^ *(?:0|250) ", text)) >= 4


def test_a_run_of_many_evaluations_is_thinned_at_the_end_but_its_best_rows_stay() -> None:
    console = terminal(100, height=8)
    reporter = LiveReporter(console)
    reporter.emit(started())
    for number in range(400):
        reporter.emit(evaluated(number, best=number == 123))
    reporter.emit(ended())
    reporter.close()
    final = re.split(r"iter +train loss", text_of(console))[-1]
    rows = re.findall(r"(?m)^ *(\d+) ", final)
    assert len(rows) <= 70
    assert {"123", "399"} <= set(rows)


def test_the_terminal_is_given_back_also_without_an_end() -> None:
    console = terminal(80)
    reporter = a_run(console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[?25l" in console.file.getvalue()  # the cursor was hidden
    reporter.close()
    reporter.close()
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in console.file.getvalue()


def test_an_empty_table_has_a_header() -> None:
    canvas = Console(width=80, file=io.StringIO())
    canvas.print(build_table([], 80))
    assert "train loss" in text_of(canvas)


# --- nanoGPT's lines


def test_nanogpts_lines() -> None:
    assert plain_lines(step(10)) == ["iter 10: loss 3.1234, time 12.34ms, mfu 5.12%"]
    assert plain_lines(step(0, mfu=None)) == ["iter 0: loss 3.1234, time 12.34ms"]
    assert plain_lines(evaluated(250)) == ["step 250: train loss 1.9000, val loss 2.0000"]
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
        "step_ms": 12.3449,
        "tok_per_sec": 62_215.0,
        "mfu": 0.05121,
        "tokens": 768 * 11,
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


def test_a_resumed_run_drops_what_it_will_do_again(tmp_path: Path) -> None:
    """Killed in the line of step 13, after the checkpoint at 10."""
    reporter = RunFilesReporter(pytest.fail)
    reporter.emit(started(run_dir=str(tmp_path)))
    for event in (evaluated(0), step(5), evaluated(10), saved(10), step(10), step(12)):
        reporter.emit(event)
    reporter.close()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"v":1,"event":"step","ste')

    again = RunFilesReporter(pytest.fail)
    again.emit(started(run_dir=str(tmp_path), resumed_from_iter=10))
    again.emit(step(10))
    again.close()
    assert records(tmp_path) == [
        ("run", None),
        ("eval", 0),
        ("step", 5),
        ("eval", 10),
        ("checkpoint", 10),
        ("run", None),
        ("step", 10),
    ]


@pytest.mark.parametrize("line", ["[]", "3", "null", '"x"', "{", "", '{"step": "ten"}', "\ufffd"])
def test_lines_that_are_no_records_are_dropped(line: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = '{"v":1,"event":"step","step":1}'
    path.write_text(f"{line}\n{good}\n", encoding="utf-8")
    drop_records_from(path, 5)
    assert path.read_text(encoding="utf-8") == good + "\n"


def test_a_full_disk_costs_the_records_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    reporter = RunFilesReporter(warnings.append)
    reporter.emit(started(run_dir=str(tmp_path)))

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JsonLinesReporter, "emit", full)
    for iter_num in range(3):
        reporter.emit(step(iter_num))
    reporter.close()
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert "training goes on" in warnings[0]


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
    assert [type(part).__name__ for part in reporter.reporters] == ["RunFilesReporter", expected]


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


@pytest.mark.parametrize("reason", ["finished", "eval_only", "SIGINT", "SIGTERM", "nonfinite"])
def test_every_ending_has_a_sentence(reason: str) -> None:
    sentence = ending_sentence(ended(reason=reason, best_val_loss=None, best_val_iter=None))
    assert re.fullmatch(r"[a-z ]+ after 2000 iterations in 1:40", sentence)

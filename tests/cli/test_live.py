"""The live table: it fits every width and height, and keeps what matters."""

import io
import itertools
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from nanogpt_cli.cli.reporters.live import LiveReporter, build_table, fitting_columns
from nanogpt_cli.cli.reporters.panels import end_panel, start_panel
from nanogpt_cli.config.load import load_config
from nanogpt_cli.events import (
    EvalStarted,
    Notice,
    Warned,
)
from tests.cli.reporter_events import drawn, ended, evaluated, saved, started, step

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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
    assert left[:8] == ["clipped", "epochs", "norm", "tokens", "lr", "eta", "mfu", "ms"]
    assert {"iter", "train", "val"} <= set(seen[-1])


@pytest.mark.parametrize(
    ("width", "shown", "missing"),
    [
        (120, ["grad norm", "clipped", "epochs", "tok/s", "MFU", "ETA", "lr"], []),
        (80, ["ms/iter", "tok/s", "MFU", "ETA", "lr"], ["clipped", "epochs"]),
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
    assert row == ["700", "3.1234", "1.0e-3", "1.23", "50%", "12.3", "62.2k", "5.1%", "0.54", "1:33"]


def test_values_that_are_unknown_are_left_empty() -> None:
    reporter = LiveReporter(terminal(120))
    reporter.emit(started(peak_flops=None))
    reporter.emit(step(0, grad_norm=None, clipped=None, mfu=None, eta_seconds=None))
    row = frame_lines(reporter, 120, 24)[-3].split()
    reporter.close()
    assert row == ["0", "3.1234", "1.0e-3", "12.3", "62.2k", "0.00"]


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
    assert "12.3 ms/iter (11.8 to 14.2 in 8 of 10), 62.0k tokens/s, MFU 5.1%" in text
    assert "1,536,000 tokens read, 1.53 epochs" in text
    assert "412 MiB at most, of this process" in text
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


def test_the_last_evaluation_has_nothing_to_wait_for() -> None:
    reporter = a_run(terminal(120))
    reporter.emit(evaluated(2000))
    lines = frame_lines(reporter, 120, 24)
    reporter.close()
    evaluations = [line for line in lines if line.rstrip().endswith("best")]
    assert "1:33" in evaluations[-2]
    assert "1:33" not in evaluations[-1]
    assert evaluations[-1].split()[0] == "2000"


def test_the_memory_of_a_gpu_is_told_as_such() -> None:
    console = terminal(100)
    console.print(end_panel(ended(peak_memory_bytes=3 * 2**30, peak_reserved_bytes=int(3.5 * 2**30))))
    console.print(end_panel(ended(peak_memory_bytes=None)))
    assert text_of(console).count("memory") == 1
    assert "3.0 GiB at most on the GPU, 3.5 GiB reserved" in text_of(console)


# --- Samples

CHINESE = "第一公民：在我們繼續之前，請聽我說。" * 12


@pytest.mark.parametrize("width", [20, 60, 80, 120])
@pytest.mark.parametrize("text", [CHINESE, "x" + CHINESE, "a long line of English text. " * 20, "short", ""])
def test_the_latest_sample_stands_under_the_table(width: int, text: str) -> None:
    console = terminal(width)
    reporter = a_run(console)
    reporter.emit(drawn(500, "the one before"))
    reporter.emit(drawn(750, text))
    lines = frame_lines(reporter, width, 24)
    reporter.emit(ended())
    reporter.close()
    assert len(lines) <= 23
    assert max(cell_len(line) for line in lines) <= width
    assert max(cell_len(line) for line in re.split(r"[\n\r]", text_of(console))) <= width
    (first,) = [number for number, line in enumerate(lines) if line.startswith("sample 750: ")]
    shown = "".join(line.rstrip() for line in lines[first:-2])
    assert len(lines[first:-2]) <= 3
    assert shown.removeprefix("sample 750:").strip("… ").replace(" ", "") in text.replace(" ", "")
    assert shown.endswith("…") == (cell_len("sample 750: " + text) > 3 * width)


def test_a_low_terminal_keeps_its_lines_for_the_table() -> None:
    reporter = a_run(terminal(80, 12))
    before = frame_lines(reporter, 80, 12)
    reporter.emit(drawn(750))
    after = frame_lines(reporter, 80, 12)
    reporter.close()
    assert len(after) == len(before) <= 11
    assert not any(line.startswith("sample") for line in after)


def test_the_end_shows_how_the_writing_changed() -> None:
    console = terminal(60)
    reporter = a_run(console)
    for number in range(100):
        reporter.emit(drawn(number, f"text {number} " + CHINESE))
    reporter.emit(ended())
    reporter.close()
    lines = text_of(console).split("samples", 1)[1].splitlines()[1:]
    kept = [line for line in lines if re.match(r" *\d+ text", line)]
    assert len(kept) == 12
    assert kept[0].startswith("     0 text 0 ")
    assert kept[-1].startswith("    99 text 99 ")
    assert all(line.rstrip().endswith("…") and cell_len(line) <= 60 for line in kept)


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


def test_a_model_of_billions_is_told_in_billions() -> None:
    console = terminal(80)
    console.print(start_panel(started(n_params=1_557_611_200)))
    assert "1.56B parameters: " in text_of(console)


def test_weights_that_are_looked_up_are_told_apart() -> None:
    """52 million parameters of 4 layers that are 192 wide: nobody could see where they are."""
    console = terminal(120)
    console.print(start_panel(started(config=load_config(preset="cpu-best").config, n_params=52_126_080)))
    told = "52.13M parameters (50.33M looked up, not computed with): 4 layers, 3 heads, 192 wide"
    assert told in text_of(console)


def test_nothing_is_to_go_at_the_end() -> None:
    """The bar said "2000/2000 · 100% · 0:01 to go" through the last sample and save."""
    reporter = a_run(terminal(80))
    assert any("to go" in line for line in frame_lines(reporter, 80, 24))
    reporter.emit(evaluated(2000))
    assert not any("to go" in line for line in frame_lines(reporter, 80, 24))

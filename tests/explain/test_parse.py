"""Every kind of line, every origin of a log, and any bytes at all."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.explain.nanogpt_settings import literal
from nanogpt_cli.explain.parse import find_log, newest_log, parse_log
from nanogpt_cli.explain.reading import MAX_LINE_CHARS
from tests.explain.samples import (
    FIXTURES,
    HEADER,
    eval_lines,
    explain_text,
    iter_lines,
    metrics,
    only_run,
    parse_text,
    record,
)


def test_header_of_nanogpt() -> None:
    run = parse_log(FIXTURES / "shakespeare_cpu.log").runs[-1]
    assert (run.tokens_per_iter, run.vocab_size, run.n_params) == (768, 65, 800_000)
    assert run.config["device"] == "cpu"
    assert run.config["n_layer"] == 4  # the command line, which comes after the file
    assert run.config["learning_rate"] == 1e-3  # the file
    assert run.config["compile"] is False
    assert (run.n_iter_lines, run.n_eval_lines) == (17, 3)
    assert run.checkpoints == [8, 16]


def test_what_prepare_printed_in_the_same_notebook() -> None:
    prepared = "length of dataset in characters: 1,115,394\nvocab size: 65\ntrain has 1,003,854 tokens\n"
    run = only_run(prepared + iter_lines([4.2, 3.0]))
    assert (run.vocab_size, run.train_tokens, run.header_seen) == (65, 1_003_854, False)
    assert parse_text(prepared).format == "unknown"


def test_a_config_file_is_read_line_by_line_until_something_else_comes() -> None:
    log = parse_text("Overriding config with x.py:\n# a comment\nwandb_log = True\nbatch_size = 3 * 4  # b\n")
    assert (log.runs[0].config, log.n_unread_lines) == ({"batch_size": 12}, 0)


def test_a_programs_source_sets_nothing() -> None:
    """modded-nanogpt's logs begin with it."""
    source = "import torch\nbatch_size = 8\nprint('compiling the model... ')\nlearning_rate: float = 1\n"
    assert only_run(source + "iter 0: loss 4.0\n").config == {}


@pytest.mark.parametrize(
    "text",
    ["{'batch_size': 12, 'n_layer': 4, 'device': 'cuda'}",
     "Namespace(batch_size=12, n_layer=4, device='cuda')",
     "{\n    'batch_size': 12,\n    'n_layer': 4,\n    'device': 'cuda'\n}",
     "batch_size: 12\nn_layer: 4\ndevice: cuda",
     'config = {"batch_size": 12,\n "n_layer": 4,\n "device": "cuda"}'],
)  # fmt: skip
def test_configurations_forks_print(text: str) -> None:
    assert only_run(text + "\niter 0: loss 4.0\n").config == {
        "batch_size": 12,
        "n_layer": 4,
        "device": "cuda",
    }


def test_numbers_of_an_iteration_and_an_evaluation() -> None:
    run = only_run(
        "step 250: train loss 1.9000, val loss 2.0000\niter 250: loss 3.1234, time 12.34ms, mfu 5.12%\n"
    )
    assert run.evals[0][:3] == (250, 1.9, 2.0)
    point = run.iters[0]
    assert (point.iter_num, point.loss, point.time_ms) == (250, 3.1234, 12.34)
    assert point.mfu == pytest.approx(0.0512)


def test_mfu_not_measured_is_none() -> None:
    point = only_run("iter 0: loss 4.0000, time 1.00ms, mfu -100.00%").iters[0]
    assert point.mfu is None
    assert point.mfu_pending


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_nonfinite_losses(text: str) -> None:
    assert not math.isfinite(only_run(f"iter 5: loss {text}, time 1.00ms, mfu 1.00%").iters[0].loss)


@pytest.mark.parametrize("time", ["0.00", "-1.00", "nan", "inf", "1e300"])
def test_a_time_nobody_measured_is_none(time: str) -> None:
    text = "".join(f"iter {i}: loss 3.0000, time {time}ms, mfu 1.00%\n" for i in range(9))
    assert [p.time_ms for p in only_run(text).iters] == [None] * 9


@pytest.mark.parametrize(
    "line",
    [
        "iter 10: loss 3.5000",
        "iter 10: loss 3.5000, time 12.00ms",
        "[rank0]: iter 10: loss 3.5000, time 12.00ms, mfu 1.00%",
        "2024-05-01 10:00:00 | iter 10: loss 3.5000, time 12.00ms, mfu 1.00%",
        "iter \x1b[1;36m10\x1b[0m: loss \x1b[1;36m3.5000\x1b[0m, time \x1b[1;36m12.00\x1b[0m ms, mfu 1.00%",
        "\x00iter 10: loss 3.5000, time 12.00ms, mfu 1.00%\x00",
    ],
)
def test_variants_of_an_iteration(line: str) -> None:
    point = only_run(line).iters[0]
    assert (point.iter_num, point.loss) == (10, 3.5)


@pytest.mark.parametrize(
    "line",
    [
        "train/loss 3.2568",
        "wandb: train/loss 3.2568 at step 6000",
        "step:125/1285 train_time",
        "    print(f'iter {iter_num}: loss {lossf:.4f}, time {dt*1000:.2f}ms')",
        "iter 10: loss",
        "a liter 10: loss 3.5",
    ],
)
def test_lines_that_only_look_similar(line: str) -> None:
    assert not only_run(line).has_points


def test_other_spelling_of_an_evaluation() -> None:
    point = only_run("Step  250 | Train Loss: 2.2139 | Val Loss: 2.2884 | LR: 9.9792e-04").evals[0]
    assert point[:4] == (250, 2.2139, 2.2884, 9.9792e-04)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends(ending: str) -> None:
    text = iter_lines([4.0, 3.0, 2.0]).replace("\n", ending)
    assert only_run(text).n_iter_lines == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding: str) -> None:
    assert only_run(iter_lines([4.0, 3.0]).encode(encoding)).n_iter_lines == 2


def test_invalid_utf8_costs_only_its_own_line() -> None:
    assert (
        only_run(b"\xff\xfe\xfa\n".replace(b"\xff\xfe", b"\xfa\xfb") + b"iter 0: loss 4.0\n").n_iter_lines
        == 1
    )


def test_a_huge_line_is_bounded() -> None:
    run = only_run("x" * (3 * MAX_LINE_CHARS) + "\niter 0: loss 4.0\n")
    assert run.n_iter_lines == 1


def test_duplicated_lines_count_once() -> None:
    assert only_run("iter 0: loss 4.0\niter 0: loss 4.0\niter 10: loss 3.0\n").n_iter_lines == 2


# --- several processes


def test_resume_joins_and_rolls_back() -> None:
    text = (
        HEADER
        + iter_lines([4.0, 3.5, 3.2, 3.1])
        + "Resuming training from out\n"
        + iter_lines([3.3, 3.0], start=20)
    )
    run = only_run(text)
    assert [p.iter_num for p in run.iters] == [0, 10, 20, 30]
    assert run.iters[2].loss == 3.3
    assert run.resumed_at == [20]
    assert run.n_iter_lines == 6


def test_a_second_training_is_another_run() -> None:
    log = parse_text(HEADER + iter_lines([4.0, 3.0]) + HEADER + iter_lines([4.1, 3.1]))
    assert [run.iters[0].loss for run in log.runs] == [4.0, 4.1]


def test_restart_without_a_header_is_another_run() -> None:
    assert len(parse_text(iter_lines([4.0, 3.0, 2.0]) + iter_lines([4.1, 3.1])).runs) == 2


def test_header_of_another_rank_is_no_run() -> None:
    """A rank's buffered header appears at the end of the log when its process exits."""
    log = parse_text("[rank1]: hello\n" + HEADER + iter_lines([4.0, 3.0]) + HEADER)
    assert len(log.runs) == 1


def test_survived_exception_is_forgotten() -> None:
    crash = (
        'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\n    x\nValueError: no\n'
    )
    assert only_run(HEADER + crash + iter_lines([4.0, 3.0])).failures == []
    assert only_run(HEADER + iter_lines([4.0, 3.0]) + crash).failures[0].exception == "ValueError"


# --- our own record


def test_metrics() -> None:
    run = only_run(metrics([4.2, 3.0, 2.5, 2.2, 2.0, 1.9], end="finished"))
    assert not run.nanogpt_habits
    assert run.tokens_per_iter == 768
    assert run.setting("max_iters") == 200
    assert [p.iter_num for p in run.iters] == [0, 10, 20, 30, 40, 50]
    assert run.iters[0].mfu == 0.25
    assert [e.iter_num for e in run.evals] == [0, 50]
    assert run.ending is not None
    assert (run.ending.reason, run.ending.wall_seconds) == ("finished", 12.5)


def test_metrics_resume_keeps_the_evaluation_of_its_checkpoint() -> None:
    """The reporter drops steps from the checkpoint on, and keeps its evaluation, which is not repeated."""
    text = metrics([4.2, 3.0, 2.5, 2.2, 2.0]) + record("eval", step=50, train_loss=1.9, val_loss=1.95)
    text += (
        record("run", resumed_from_iter=50)
        + record("step", step=50, loss=1.9)
        + record("step", step=60, loss=1.8)
    )
    run = only_run(text)
    assert run.resumed_at == [50]
    assert run.evals[-1].iter_num == 50
    assert run.tokens_per_iter == 768


@pytest.mark.parametrize(
    "line",
    [
        '{"v":1,"event":"step","step":10,"lo',
        '{"event":"step","step":"ten","loss":1}',
        '{"event":7}',
        '{"event"',
        "{}",
    ],
)
def test_damaged_records_are_passed_over(line: str) -> None:
    assert only_run(metrics([4.0, 3.0]) + line + "\n").n_iter_lines == 2


def test_nonfinite_loss_in_metrics() -> None:
    run = only_run(metrics([4.0]) + record("step", step=10, loss="nan") + record("step", step=20, loss="inf"))
    assert math.isnan(run.iters[1].loss)
    assert math.isinf(run.iters[2].loss)


# --- where logs lie


def test_run_directory_prefers_metrics_and_reads_the_config(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(iter_lines([4.0]))
    assert find_log(tmp_path).name == "train.log"
    (tmp_path / "config.toml").write_text("[run]\nmax_iters = 77\n[data]\nbatch_size = 3\n")
    assert parse_log(tmp_path).runs[-1].setting("max_iters") == 77
    (tmp_path / "metrics.jsonl").write_text(metrics([4.0]))
    assert find_log(tmp_path).name == "metrics.jsonl"
    assert parse_log(tmp_path).runs[-1].setting("max_iters") == 200  # the log's own word goes first


def test_damaged_config_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(iter_lines([4.0]))
    (tmp_path / "config.toml").write_bytes(b"\xff = [")
    assert parse_log(tmp_path).runs[-1].config == {}


def test_missing_path_and_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(NanoGPTError, match="no log or run directory"):
        parse_log(tmp_path / "nothing")
    with pytest.raises(NanoGPTError, match="holds no training log"):
        parse_log(tmp_path)
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("x")
    with pytest.raises(NanoGPTError, match="several logs"):
        parse_log(tmp_path)


def test_a_trainers_folder_means_its_newest_state(tmp_path: Path) -> None:
    for step in (100, 200):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        history = [{"loss": 3.0, "epoch": step / 100, "step": step}]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}, indent=2))
        os.utime(folder / "trainer_state.json", (step, step))
    assert parse_log(tmp_path).runs[-1].last_iter == 200


def test_newest_log(tmp_path: Path) -> None:
    assert newest_log(tmp_path / "out") is None
    for number, name in enumerate(("old", "new")):
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        (folder / "train.log").write_text(iter_lines([4.0]))
        os.utime(folder / "train.log", (1000 + number, 1000 + number))
    assert newest_log(tmp_path / "out") == tmp_path / "out" / "new" / "train.log"


# --- values


@pytest.mark.parametrize(
    ("text", "value"),
    [("5 * 8", 40), ("1e-3", 1e-3), ("'gpt2'", "gpt2"), ("True", True), ("-1", -1), ("cuda:0", "cuda:0"),
     ("__import__('os')", None), ("9**9**9", None), ("1 / 0", None), ("[1]", None)],
)  # fmt: skip
def test_literals_are_never_executed(text: str, value: object) -> None:
    assert literal(text) == value


# --- any bytes


_PIECES = st.sampled_from(
    [
        HEADER,
        iter_lines([4.0, 3.0]),
        eval_lines([(4.0, 4.1)]),
        metrics([4.0, 3.0]),
        "iter 9: loss nan, time infms\n",
        "iter 3: loss 1e999, time 0.00ms, mfu 0.00%\n",
        "step 5: train loss inf, val loss nan\n",
        "Traceback (most recent call last):\n",
        "torch.Error: x\n",
        '{"event":',
        "Overriding: block_size = 1e999\n",
        "Resuming training from x\n",
        "number of parameters: 0.00M\n",
        "found vocab_size = 0\n",
        "tokens per iteration will be: ,\n",
        "\x1b[",
        "\r",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=20), max_size=12))
def test_any_mixture_of_lines_is_explained(pieces: list[str]) -> None:
    explain_text("".join(pieces).encode("utf-8", "surrogatepass")).to_json()


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"iter 1: loss "]),
)
def test_any_bytes_are_explained(raw: bytes, start: bytes) -> None:
    explain_text(start + raw).to_json()

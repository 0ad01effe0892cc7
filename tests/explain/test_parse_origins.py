"""The same log from many origins: terminals, containers, notebooks, ranks, encodings; the run is the same."""

import gzip
import io
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.explain import dispatch, reading
from nanogpt_cli.explain.parse import LogReader, parse_stream
from nanogpt_cli.explain.records import Log, Run
from tests.explain.samples import (
    HEADER,
    eval_lines,
    falling,
    iter_line,
    iter_lines,
    metrics,
    only_run,
    parse_text,
)

LINES = [
    "step 0: train loss 4.2874, val loss 4.2823",
    *(iter_line(i, 4.2 - i / 100, mfu=-100.0 if i == 0 else 5.0) for i in range(0, 50, 10)),
    "step 50: train loss 3.7000, val loss 3.8000",
    "saving checkpoint to out",
    *(iter_line(i, 4.2 - i / 100) for i in range(50, 100, 10)),
]
TEXT = HEADER + "\n".join(LINES) + "\n"
NANOCHAT = "".join(
    f"step {i:05d}/01000 ({i / 10:.2f}%) | loss: {9 - i / 100:.6f} | grad norm: 0.5000 | lrm: 1.00"
    " | dt: 640.25ms | tok/sec: 812,345 | mfu: 51.20 | epoch: 1 | total time: 3.21m | eta: 178.1m\n"
    for i in range(0, 100, 10)
)


def prefixed(prefix: str) -> Callable[[str], bytes]:
    return lambda text: "".join(prefix + line + "\n" for line in text.splitlines()).encode()


def docker(text: str) -> bytes:
    lines = (
        {"log": line + "\n", "stream": "stdout", "time": "2024-01-01T00:00:00Z"} for line in text.splitlines()
    )
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def notebook(text: str) -> bytes:
    stream = {"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}
    cells = [
        {"cell_type": "markdown", "source": ["x"]},
        {"cell_type": "code", "outputs": [stream], "source": []},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, indent=1).encode()


ORIGINS: dict[str, Callable[[str], bytes]] = {
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "bare CR": lambda text: text.replace("\n", "\r").encode(),
    "UTF-8 mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 big-endian": lambda text: text.encode("utf-16-be"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip in two members": lambda text: (
        gzip.compress(text[:300].encode()) + gzip.compress(text[300:].encode())
    ),
    "NUL bytes": lambda text: text.replace("\n", "\x00\n\x00\x00").encode(),
    "colours": lambda text: text.replace("loss", "\x1b[1;36mloss\x1b[0m").encode(),
    "docker": docker,
    "notebook": notebook,
    "time stamps": prefixed("2024-01-01 12:00:00,123 INFO "),
    "time stamps in brackets": prefixed("[2024-01-01T12:00:00Z] "),
    "a logger": prefixed("INFO:root:"),
    "one rank": prefixed("[rank0]: "),
    "srun": prefixed("0: "),
    "kubernetes": prefixed("2024-01-01T12:00:00.000000000Z stdout F "),
    "quoted": prefixed("> "),
    "a table": prefixed("| "),
    "strings": lambda text: "".join(f'      "{line}\\n",\n' for line in text.splitlines()).encode(),
    "every line twice": lambda text: "".join(f"{line}\n{line}\n" for line in text.splitlines()).encode(),
    "every line by two ranks": lambda text: "".join(
        f"[rank{rank}]: {line}\n" for line in text.splitlines() for rank in (0, 1)
    ).encode(),
    "a rank after the other": lambda text: prefixed("[rank0]:")(text) + prefixed("[rank1]:")(text),
    "decimal commas": lambda text: (
        text.replace("4.", "4,").replace("3.", "3,").replace("50.0", "50,0").encode()
    ),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
    "spaces at the end": lambda text: text.replace("\n", "   \n").encode(),
}


def comparable(run: Run) -> tuple[object, ...]:
    return (
        run.trainer, run.iters, run.evals, run.checkpoints, run.vocab_size, run.tokens_per_iter, run.n_params,
        run.n_iter_lines, run.n_eval_lines,
    )  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_origin(origin: str) -> None:
    assert comparable(only_run(ORIGINS[origin](TEXT))) == comparable(only_run(TEXT))


@pytest.mark.parametrize("origin", ["every line twice", "every line by two ranks", "a rank after the other"])
def test_doubled_lines_are_counted(origin: str) -> None:
    assert parse_text(TEXT).n_duplicated_lines == 0
    doubled = parse_text(ORIGINS[origin](TEXT)).n_duplicated_lines
    assert doubled == sum("loss" in line for line in LINES)


def test_a_log_printed_twice_in_a_row() -> None:
    """Collected twice, to the hundredth of a millisecond; a second training differs."""
    log = parse_text(iter_lines([4.0, 3.5, 3.0]) * 2)
    assert (len(log.runs), log.runs[0].n_iter_lines, log.n_duplicated_lines) == (1, 3, 3)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_a_terminal_cut(width: int) -> None:
    cut = "".join(
        line[at : at + width] + "\n" for line in NANOCHAT.splitlines() for at in range(0, len(line), width)
    )
    run, whole = only_run(cut), only_run(NANOCHAT)
    assert [p.iter_num for p in run.iters] == [p.iter_num for p in whole.iters]
    assert run.iters == whole.iters
    assert parse_text(cut).n_duplicated_lines == 0


@pytest.mark.parametrize("cut", ["iter 100: loss 2", "iter 100: loss 2.1234, time 1", "iter 10"])
def test_a_last_line_cut_short_is_not_believed(cut: str) -> None:
    log = parse_text(TEXT + cut)
    assert log.runs[0].iters == only_run(TEXT).iters
    assert log.n_unread_lines == 1
    assert parse_text(TEXT + cut + "\n").runs[0].last_iter == (90 if cut == "iter 10" else 100)


def test_unread_lines_are_counted_and_the_first_kept() -> None:
    log = parse_text(
        "".join(
            f"nonsense {word}\n{iter_line(i, 3.0)}\n" for i, word in enumerate("abcdefghijklmnopqrstuvwxyz")
        )
    )
    assert (log.n_unread_lines, len(log.unread), log.unread[1]) == (26, 20, (3, "nonsense b"))
    assert parse_text("same 1\nsame 2\n" + TEXT).n_unread_lines == 2


def test_a_damaged_archive_gives_what_comes_before_the_damage() -> None:
    raw = gzip.compress(TEXT.encode() * 50)
    assert parse_text(raw[: len(raw) // 2]).runs[0].has_points
    assert parse_text(raw[:20] + b"\x00" * 30 + raw[50:]).runs


def test_an_archive_bomb_costs_no_memory() -> None:
    assert parse_text(gzip.compress(b"x" * 50_000_000)).n_text_lines == 1


# --- documents


def test_trainer_state() -> None:
    history = [{"loss": 3.0, "learning_rate": 1e-4, "epoch": 0.5, "step": 100},
               {"eval_loss": 2.9, "epoch": 0.5, "step": 100},
               {"loss": 2.5, "epoch": 1.0, "step": 200}]  # fmt: skip
    state = {
        "best_metric": 2.9,
        "global_step": 200,
        "log_history": history,
        "max_steps": 200,
        "num_train_epochs": 1,
    }
    for text in (json.dumps(state), json.dumps(state, indent=2)):
        log = parse_text(text)
        run = log.runs[0]
        assert (log.format, run.setting("max_iters"), run.epochs_seen) == ("hf-trainer", 200, 1.0)
        assert [(p.iter_num, p.loss) for p in run.iters] == [(100, 3.0), (200, 2.5)]
        assert [(e.iter_num, e.val_loss) for e in run.evals] == [(100, 2.9)]


def test_a_notebooks_table_and_error() -> None:
    table = "<table><tr><th>Step</th><th>Training Loss</th><th>Validation Loss</th></tr><tbody>" + "".join(
        f"<tr>\n<td>{step}</td>\n<td>{train}</td>\n<td>{val}</td>\n</tr>"
        for step, train, val in ((500, "No log", 3.1), (1000, 3.0, 2.9))
    )
    error = [
        "\x1b[0;31m---\x1b[0m",
        "Traceback (most recent call last):",
        '  File "/x/train.py", line 3, in f',
        "ValueError: no",
    ]
    outputs = [
        {"output_type": "display_data", "data": {"text/html": [table], "text/plain": ["<IPython HTML>"]}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": error},
    ]
    log = parse_text(json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}]}))
    run = log.runs[0]
    assert (log.format, [(p.iter_num, p.loss) for p in run.iters]) == ("hf-trainer", [(1000, 3.0)])
    assert [(e.iter_num, e.val_loss) for e in run.evals] == [(500, 3.1), (1000, 2.9)]
    assert [f.exception for f in run.failures] == ["ValueError"]


@pytest.mark.parametrize(
    "text", ['{"cells": [', '{\n "cells": 3}', '[{"a": 1}]', '{"cells": [{"outputs": [7, {"text": 3}]}]}']
)
def test_documents_without_a_log(text: str) -> None:
    assert not parse_text(text).runs[0].has_points


def test_a_broken_notebook_is_read_as_lines() -> None:
    raw = notebook(TEXT)
    assert only_run(raw[: raw.rfind(b"step 50")]).n_iter_lines == 5


# --- blocks


LLM_C = "s:0 tel:9.0\n" + "".join(f"s:{i} trl:{9 - i / 100} lr:0.0001 norm:1.5\n" for i in range(50))
STAMPED = prefixed("12:00 INFO ")(TEXT).decode()


@pytest.mark.parametrize("text", [TEXT * 3, NANOCHAT, LLM_C, STAMPED, metrics(falling(4.0, 2.0, 80))])
@pytest.mark.parametrize("block_bytes", [7, 97, 1000])
def test_usual_lines_in_blocks_are_read_as_each_alone(
    text: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> Log:
        reader, raw = LogReader("x"), text.replace("\n", "\r\n").encode()
        for at in range(0, len(raw), block_bytes):
            reader.feed(raw[at : at + block_bytes])
        return reader.finish()

    blocks = read()
    monkeypatch.setattr(dispatch, "USUAL", ())
    alone = read()
    assert blocks == alone
    assert blocks.n_lines == text.count("\n")


def test_a_preview_changes_nothing() -> None:
    reader, raw = (
        LogReader("x"),
        (TEXT + "Resuming training from out\n" + iter_lines([3.0, 2.9], start=50)).encode(),
    )
    for at in range(0, len(raw), 100):
        reader.feed(raw[at : at + 100])
        seen = reader.preview()
        assert len(seen.runs[-1].iters) <= 12
    assert reader.finish() == parse_stream(io.BytesIO(raw), "x")
    assert parse_text(raw).runs[-1].resumed_at == [50]


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"a", b"\x1b[1m", b"\xc3\xa9", b"\xff", b"\x00"]), max_size=30),
    st.integers(1, 9),
)
def test_text_is_the_same_however_it_arrives(pieces: list[bytes], size: int) -> None:
    def lines(size: int) -> list[str]:
        blocks, raw = reading.TextBlocks(), b"start\n" + b"".join(pieces)
        texts = [text for at in range(0, len(raw), size) for text in blocks.feed(raw[at : at + size])]
        return [line for text in (*texts, blocks.finish()) for line in text.split("\n") if line]

    assert lines(size) == lines(1000)


def test_many_runs_cost_bounded_memory() -> None:
    log = parse_text(
        "".join(f"iter {10 - i % 2}: loss {i}.5, time {i}.00ms, mfu 1.00%\n" for i in range(3000))
    )
    assert len(log.runs) <= 500
    assert sum(run.n_iter_lines for run in log.runs) + log.n_dropped_runs >= 500


def test_evaluations_of_our_own_text_and_of_a_fork() -> None:
    assert only_run(eval_lines([(4.0, 4.1), (3.0, 3.1)])).n_eval_lines == 2

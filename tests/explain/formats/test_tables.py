"""Losses in tables: CSV, Markdown, data frames, the Trainer's."""

import pytest

from nanogpt_cli.explain.records import EvalPoint, IterPoint
from tests.explain.samples import only_run, parse_text


@pytest.mark.parametrize(
    "text",
    [
        "iter,train_loss,val_loss,lr\n0,4.2,4.3,0.001\n250,1.9,2.0,0.001\n",
        '"step";"train loss";"val loss";"lr"\n0;4.2;4.3;0,001\n250;1.9;2.0;0,001\n',
        "| Step | Train Loss | Val Loss | LR |\n|---|:---:|---:|---|\n"
        "| 0 | 4.2 | 4.3 | 1e-3 |\n| 250 | 1.9 | 2.0 | 1e-3 |\n",
        "step\ttrain/loss\tval/loss\tlr\n0\t4.2\t4.3\t1e-3\n250\t1.9\t2.0\t1e-3\n",
        "   step  train_loss  val_loss    lr\n0     0      4.2       4.3     0.001\n"
        "1   250      1.9       2.0     0.001\n",
    ],
    ids=["csv", "semicolons", "markdown", "tabs", "data frame"],
)  # fmt: skip
def test_a_table_of_both_losses(text: str) -> None:
    log = parse_text(text)
    assert (log.format, log.n_unread_lines) == ("generic", 0)
    assert log.runs[0].evals == [EvalPoint(0, 4.2, 4.3, 0.001), EvalPoint(250, 1.9, 2.0, 0.001)]


def test_a_csv_with_empty_cells() -> None:
    """litgpt's CSVLogger writes training and validation into rows of their own."""
    run = only_run("epoch,iter,loss,step,val_loss\n0,1,9.5,0,\n0,2,9.1,1,\n0,2,,1,8.9\n")
    assert run.iters == [IterPoint(1, 9.5), IterPoint(2, 9.1)]
    assert run.evals == [EvalPoint(2, None, 8.9)]


def test_the_trainers_table() -> None:
    run = only_run("Step\tTraining Loss\tValidation Loss\n500\tNo log\t3.1\n1000\t3.0\t2.9\n\nBye\n")
    assert (run.trainer, run.iters) == ("hf-trainer", [IterPoint(1000, 3.0)])
    assert run.evals == [EvalPoint(500, None, 3.1), EvalPoint(1000, None, 2.9)]


@pytest.mark.parametrize(
    "text",
    [
        "step, loss, and so on\nare words\n",
        "1,2,3\n4,5,6\n",
        "name,loss\nx,1\n",
        "iter,loss\n-1,2\nx,3\n",
        "loss\n3\n",
    ],
)
def test_no_table_of_a_training(text: str) -> None:
    assert not only_run(text).has_points

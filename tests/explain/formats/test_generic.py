"""Lines of people's own training loops."""

import pytest

from nanogpt_cli.explain.records import EvalPoint, IterPoint
from tests.explain.samples import only_run, parse_text


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("Iteration 500 - loss=3.21", IterPoint(500, 3.21)),
        ("Step: 500, Training Loss: 3.21, LR: 1e-4", IterPoint(500, 3.21, lr=1e-4)),
        ("[step 500/1000] loss: 3.21 | grad norm: 0.5", IterPoint(500, 3.21, grad_norm=0.5)),
        ("STEP 500 LOSS 3.21", IterPoint(500, 3.21)),
        ("global_step=500 | avg loss = 3,21", IterPoint(500, 3.21)),
        ("Epoch 7: train_loss=3.21", IterPoint(7, 3.21)),
        ("Step 500 | loss 3.21 | step time 12.5ms", IterPoint(500, 3.21, 12.5)),
        ("update 500: loss 3.21 took 1.5s", IterPoint(500, 3.21, 1500.0)),
        (" 45%|████▌     | 450/1000 [00:12<00:15, 35.2it/s, loss=2.31]", IterPoint(450, 2.31)),
        ("Iter 500: Train loss 3.21, Learning Rate 1.000e-04, It/sec 1.2", IterPoint(500, 3.21, lr=1e-4)),
        (
            " iteration      500/    1000 | elapsed: 9 | lm loss: 3.210E+00 | grad norm: 0.5 |",
            IterPoint(500, 3.21, grad_norm=0.5),
        ),
        (
            "step: 500     | loss: 3.21 | grad_norm: 0.5 | lr: 1e-04 | tps: 59,660",
            IterPoint(500, 3.21, lr=1e-4, grad_norm=0.5),
        ),
        ('{"step": 500, "loss": 3.21, "lr": 0.0001}', IterPoint(500, 3.21, lr=1e-4)),
    ],
)
def test_an_iteration(line: str, point: IterPoint) -> None:
    log = parse_text(line)
    assert (log.format, log.runs[0].trainer, log.runs[0].iters) == ("generic", "unknown", [point])


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("Step 200 | Train Loss: 1.05 | Val Loss: 1.46 | LR: 9.9e-04", EvalPoint(200, 1.05, 1.46, lr=9.9e-4)),
        ("iter 2000: train loss 1.0597, val loss 1.4687", EvalPoint(2000, 1.0597, 1.4687)),
        ("Epoch 3/10 - loss: 1.0597 - val_loss: 1.4687", EvalPoint(3, 1.0597, 1.4687)),
        ("Step 2000: train 1.0597 val 1.4687", EvalPoint(2000, 1.0597, 1.4687)),
        ("step 2000, validation loss = 1.4687", EvalPoint(2000, None, 1.4687)),
        ("Iter 2000: Val loss 1.4687, Val took 12.3s", EvalPoint(2000, None, 1.4687)),
        ("iter 2000: loss 1.0597, val_loss 1.4687", EvalPoint(2000, 1.0597, 1.4687)),
        ("step 500 train loss: 2.1 test loss: 2.2", EvalPoint(500, 2.1, 2.2)),
        ("step 0: train loss 4.335, val loss 4.332, mem 714.0 MiB @ 00:00:00", EvalPoint(0, 4.335, 4.332)),
        ('{"iter": 10, "train/loss": 2.5, "val/loss": 2.75}', EvalPoint(10, 2.5, 2.75)),
    ],
)  # fmt: skip
def test_an_evaluation(line: str, point: EvalPoint) -> None:
    assert only_run(line).evals == [point]


def test_steps_that_begin_again_in_every_epoch_are_counted_through() -> None:
    text = "".join(
        f"Epoch [{e}/2], Step [{s}/300], Loss: {4 - e:.1f}\n" for e in (1, 2) for s in (100, 200, 300)
    )
    assert [p.iter_num for p in only_run(text).iters] == [100, 200, 300, 400, 500, 600]


def test_brackets_beside_an_epoch_are_steps() -> None:
    text = "".join(f"Train Epoch: {e} [{s}/600 (0%)]\tLoss: {4 - e:.1f}\n" for e in (1, 2) for s in (0, 300))
    assert [p.iter_num for p in only_run(text).iters] == [0, 300, 600, 900]


def test_an_epochs_summary_belongs_to_its_last_step() -> None:
    text = (
        "step 100 loss 3.0\nstep 200 loss 2.9\nEpoch 1 | Train Loss: 3.0 | Val Loss: 3.1\nstep 300 loss 2.8\n"
    )
    run = only_run(text)
    assert ([p.iter_num for p in run.iters], [e.iter_num for e in run.evals]) == ([100, 200, 300], [200])


def test_several_lines_of_one_epoch_are_counted() -> None:
    lines = [f"epoch {e}: loss {4 - e - i / 10:.1f}" for e in (1, 2) for i in range(3)]
    assert [p.iter_num for p in only_run("\n".join(lines) + "\n").iters] == [1, 2, 3, 4, 5, 6]
    log = parse_text("".join(f"{line}\n{line}\n" for line in lines))
    assert (log.runs[0].n_iter_lines, log.n_duplicated_lines) == (6, 6)


def test_steps_that_go_on_through_the_epochs_stay() -> None:
    text = "".join(f"epoch {1 + s // 300} step {s} loss {4.0:.1f}\n" for s in range(100, 700, 100))
    assert [p.iter_num for p in only_run(text).iters] == [100, 200, 300, 400, 500, 600]


@pytest.mark.parametrize(
    "line",
    [
        "wandb: train/loss 3.2568 step 4",
        "the loss at step 500 was great",
        "In step 3 of the recipe no loss of heat occurs.",
        "epoch 3 packet loss 0.1%"[:0] + "ping: 0% packet loss, time 3004ms",
        "def loss(step=3): return 0",
        "total loss of signal",
    ],
)
def test_lines_that_are_none(line: str) -> None:
    assert not only_run(line).has_points

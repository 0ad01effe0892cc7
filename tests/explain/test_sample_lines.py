"""Samples in a log of ours: a model may write what looks like a line of a log, or like a crash."""

import json

import pytest

from tests.explain.samples import iter_line, only_run

TEXTS = (
    "iter 30: loss nan, time 1.00ms",
    "⏎step 50: train loss nan, val loss nan",
    "Traceback (most recent call last):",
    "torch.OutOfMemoryError: CUDA out of memory.",
    "epoch 5 loss 0.1 val_loss 0.1",
    "saving checkpoint to out",
    "{'loss': 0.1, 'epoch': 3.0}",
    "",
)
LINES = [
    "step 0: train loss 4.2874, val loss 4.2823",
    *(iter_line(i, 4.2 - i / 100) for i in range(0, 50, 10)),
    "step 50: train loss 3.7000, val loss 3.8000",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_sample_is_no_line_of_the_log(text: str) -> None:
    plain = only_run("\n".join(LINES) + "\n")
    mixed = [part for number, line in enumerate(LINES) for part in (line, f"sample {number}: {text}")]
    assert only_run("\n".join(mixed) + "\n") == plain


def test_nor_is_the_record_of_one() -> None:
    def record(event: str, **values: object) -> str:
        return json.dumps({"v": 1, "event": event, **values}) + "\n"

    steps = [record("step", step=i, loss=4.2 - i / 100, step_ms=10.0) for i in range(5)]
    drawn = [record("sample", step=2, prompt="\n", text=text, tokens=9, sample_ms=1.0) for text in TEXTS]
    assert only_run("".join((*steps[:3], *drawn, *steps[3:]))) == only_run("".join(steps))

"""The records of a run that was killed and goes on: everything once, whatever the kill left behind."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.cli.reporters.run_files import drop_lines_from
from nanogpt_cli.engine import flops, trainer
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.saving import Saver
from tests.cli.tiny_run import RUN, prepare, train
from tests.helpers import run_cli

HEAD = "tokens per iteration will be: 64\nstep 0: train loss 4.1, val loss 4.2\n"
TO_FOUR = HEAD + "".join(f"iter {i}: loss 3.1, time 1.00ms\n" for i in range(4))
EVALUATED = TO_FOUR + "step 4: train loss 3.0, val loss 3.1\nsample 4: a\nsaving checkpoint to out/run\n"


@pytest.mark.parametrize(
    "beyond",
    ["", "iter 4: loss 3.0, time 1.00ms\niter 5: loss 3.0", "iter 4: lo", "it", "warning: x\n"],
)
def test_what_the_checkpoint_holds_stays_and_what_comes_again_goes(beyond: str, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(EVALUATED + beyond, encoding="utf-8")
    drop_lines_from(log, 4, ("eval", "sample"))
    kept = beyond if beyond.startswith("warning") else ""
    assert log.read_text(encoding="utf-8") == EVALUATED + kept


def test_an_older_checkpoint_takes_the_evaluation_after_it_away(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(EVALUATED, encoding="utf-8")
    drop_lines_from(log, 3, ())
    assert log.read_text(encoding="utf-8") == TO_FOUR.removesuffix("iter 3: loss 3.1, time 1.00ms\n")
    drop_lines_from(log, 0, ("eval",))
    assert log.read_text(encoding="utf-8") == HEAD


def test_a_log_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    drop_lines_from(tmp_path / "train.log", 4, ())
    assert list(tmp_path.iterdir()) == []


# --- A run that was stopped where it was to evaluate and to draw a sample


class Killed(BaseException):
    """Stands for SIGKILL: every record is on the disk by then, as each is flushed at once."""


def recorded(run: Path, event: str) -> list[tuple[int, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    value = {"eval": "val_loss", "sample": "text"}[event]
    return [(r["step"], r[value]) for r in map(json.loads, lines) if r["event"] == event]


def logged(run: Path, word: str) -> list[str]:
    lines = (run / "train.log").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(word + " ")]


def stopped_at_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes within the evaluation at iteration 3, which is given up for the save."""
    real, calls = trainer.estimate_loss, []

    def estimate_loss(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:  # iteration 0 had two: train and val
            signal.raise_signal(signal.SIGTERM)
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "estimate_loss", estimate_loss)
        result = train("--sample_interval=3", "--sample_tokens=4")
    assert result.code == 143, result.err
    (checkpoint,) = list_checkpoints(RUN)
    assert read_checkpoint(checkpoint).state.last_eval_iter == 0


def test_what_a_stop_kept_from_being_done_is_done_by_the_continuation_and_recorded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bugs: the sample at the iteration of the stop was never drawn; and a continuation that was killed
    between its evaluation and the save left an evaluation that the next one recorded a second time."""
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)
    prepare()
    undisturbed = Path("out/undisturbed")
    train("--sample_interval=3", "--sample_tokens=4", "--out-dir", undisturbed)
    stopped_at_3(monkeypatch)
    assert [step for step, _ in recorded(RUN, "sample")] == [0]

    def kill(*_args: object, **_options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "save", kill)
        with pytest.raises(Killed):
            run_cli("train", "--resume", "--out-dir", RUN)
    assert [step for step, _ in recorded(RUN, "eval")] == [0, 3]

    assert run_cli("train", "--resume", "--out-dir", RUN).code == 0
    for event, word in (("eval", "step"), ("sample", "sample")):
        assert [step for step, _ in recorded(RUN, event)] == [0, 3, 6]
        assert recorded(RUN, event) == recorded(undisturbed, event)
        assert logged(RUN, word) == logged(undisturbed, word)

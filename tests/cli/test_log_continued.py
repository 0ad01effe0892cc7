"""train.log of a run that was killed and goes on: every iteration once, whatever the kill left behind."""

from pathlib import Path

import pytest

from nanogpt_cli.cli.reporters.run_files import drop_lines_from

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
    drop_lines_from(log, 4)
    kept = beyond if beyond.startswith("warning") else ""
    assert log.read_text(encoding="utf-8") == EVALUATED + kept


def test_an_older_checkpoint_takes_the_evaluation_after_it_away(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(EVALUATED, encoding="utf-8")
    drop_lines_from(log, 3)
    assert log.read_text(encoding="utf-8") == TO_FOUR.removesuffix("iter 3: loss 3.1, time 1.00ms\n")
    drop_lines_from(log, 0)
    assert log.read_text(encoding="utf-8") == HEAD


def test_a_log_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    drop_lines_from(tmp_path / "train.log", 4)
    assert list(tmp_path.iterdir()) == []

"""The numbers behind the findings on times and MFU."""

import pytest

from nanogpt_cli.explain.records import IterPoint, Run
from tests.explain.rule_logs import FIRES, MORE, timed
from tests.explain.samples import codes, falling, finding, iter_line, run_log


def test_drift_from_first_to_last() -> None:
    numbers = finding(FIRES["time_drift"], "time_drift").numbers
    assert numbers["slower_percent"] == pytest.approx(42, abs=5)


def test_where_it_became_slower() -> None:
    found = finding(MORE["time_drift.sudden"], "time_drift")
    assert found.title == "Slower from one point on"
    assert found.iters[0] == pytest.approx(500, abs=20)


def test_a_run_that_gets_faster_drifts_not() -> None:
    assert "time_drift" not in codes(timed([150 - 0.5 * i for i in range(100)]))


def test_growing_batches_by_design_are_no_drift() -> None:
    run = Run(trainer="modded-nanogpt", nanogpt_habits=False)
    run.iters = [IterPoint(i, None, 30 + 0.5 * i) for i in range(200)]
    assert "time_drift" not in codes(run_log(run))


def test_the_worst_stall() -> None:
    numbers = finding(FIRES["time_stall"], "time_stall").numbers
    assert numbers["n_stalls"] == 4
    assert numbers["times"] == pytest.approx(50.0)


def test_a_rhythm_is_no_stall() -> None:
    found = finding(MORE["time_stall.periodic"], "time_stall")
    assert found.severity == "info"
    assert found.numbers["period"] == 100


def test_one_long_iteration_in_a_long_run_is_not_worth_a_word() -> None:
    assert "time_stall" not in codes(timed([900.0 if i == 300 else 100.0 for i in range(600)]))


def test_an_iteration_that_saved_a_checkpoint_is_no_stall() -> None:
    run = Run(trainer="nanochat", nanogpt_habits=False, checkpoints=[300, 600, 900])
    losses = falling(10.0, 3.0, 100)
    run.iters = [
        IterPoint(10 * i, losses[i], 9000.0 if i in (30, 60, 90) else 100.0) for i in range(len(losses))
    ]
    assert "time_stall" not in codes(run_log(run))


def test_compiling_twice_is_one_start() -> None:
    """The first steps of a process may compile several shapes; none of them is a stall."""
    run = Run(trainer="torchtitan", nanogpt_habits=False, process_starts=[1])
    losses = falling(10.0, 3.0, 100)
    times = [30_000.0, 12_000.0, 9000.0, *[500.0] * 97]
    run.iters = [IterPoint(i + 1, losses[i], times[i]) for i in range(100)]
    found = codes(run_log(run))
    assert "time_stall" not in found
    assert finding(run_log(run), "slow_first_iterations").iters == (1, 2, 3)


def test_an_h100s_mfu_of_an_a100() -> None:
    """120 % of 312 TFLOP/s is 38 % of 989."""
    text = "".join(iter_line(10 * i, 4.0, mfu=120.0) + "\n" for i in range(10))
    found = finding(text, "mfu_impossible")
    assert found.severity == "info"
    assert found.numbers["h100_percent"] == pytest.approx(37.9, abs=0.1)


def test_more_than_its_own_peak_is_impossible() -> None:
    run = Run(trainer="nanochat", nanogpt_habits=False)
    run.iters = [IterPoint(i, 3.0, 100.0, 1.3) for i in range(20)]
    assert finding(run_log(run), "mfu_impossible").severity == "warning"


def test_low_mfu_on_a_t4() -> None:
    """2.4 % of an A100 is 11.5 % of a T4, which may be all it can do."""
    found = finding(FIRES["low_mfu"], "low_mfu")
    assert found.numbers["t4_percent"] == pytest.approx(11.5, abs=0.1)
    assert found.severity == "info"


def test_an_mfu_of_hundredths_shows_no_average() -> None:
    text = "".join(iter_line(i, 4.0, 45.0, 0.03) + "\n" for i in range(10))
    text += "step 10: train loss 3.9, val loss 4.0\n" + iter_line(10, 4.0, 900.0, 0.03) + "\n"
    assert "running average" not in finding(text, "eval_time_spike").message

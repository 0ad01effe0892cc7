"""Each rule: one log that fires it, one near miss that must not."""

import pytest

from nanogpt_cli.explain.report import ExplainedFinding
from tests.explain.samples import (
    FIXTURES,
    HEADER,
    codes,
    eval_lines,
    explain_text,
    falling,
    iter_line,
    iter_lines,
    metrics,
    record,
)

GOOD_EVALS = [(4.2, 4.2), (2.4, 2.45), (1.9, 2.0), (1.6, 1.75), (1.4, 1.62)]
FORGETTING = [(4.2, 4.2), (1.9, 2.0), (1.3, 1.55), (1.06, 1.47), (0.85, 1.55), (0.7, 1.63), (0.62, 1.70)]
CRASH = 'Traceback (most recent call last):\n  File "/x/train.py", line 9, in <module>\n    {code}\n{error}\n'


def crash(error: str, code: str = "main()") -> str:
    return CRASH.format(code=code, error=error)


def finding(text: str | bytes, code: str) -> ExplainedFinding:
    return next(f for f in explain_text(text).findings if f.code == code)


FIRES: dict[str, str] = {
    "healthy": eval_lines(GOOD_EVALS),
    "still_improving": eval_lines(GOOD_EVALS),
    "plateau": eval_lines([(4.2, 4.2), (2.0, 2.1), (1.5, 1.6), (1.3, 1.472), (1.2, 1.470), (1.18, 1.469),
                           (1.15, 1.471), (1.12, 1.470), (1.1, 1.471)]),
    "overfitting": eval_lines(FORGETTING),
    "unstable": eval_lines([(11, 11), (4, 4), (3.5, 3.5), (3.8, 3.8), (3.9, 3.9), (3.85, 3.86)]),
    "diverged": iter_lines([10.9, 9.8, 7.8, 6.0, 5.0, 270.0, 120.0, 60.0, 40.0, 31.0]),
    "nonfinite": iter_lines([10.9, 9.8, 7.8, float("nan"), float("nan")]),
    "loss_spike": iter_lines(falling(10.9, 3.6, 60) + [6.5] + [3.6] * 10),
    "no_learning": HEADER + iter_lines([10.83, 10.82] * 15, interval=100),
    "bad_initial_loss": HEADER + iter_lines([130.6, 120.0, 110.0]),
    "eval_time_spike": (FIXTURES / "pair.log").read_text(),
    "slow_first_iterations": iter_line(0, 4.2, ms=9000.0) + "\n" + iter_lines([3.0] * 5, start=10),
    "mfu_not_measured_yet": iter_line(0, 4.2, mfu=-100.0) + "\n" + iter_line(10, 3.0) + "\n",
    "mfu_reference_device": "Overriding: device = cpu\n" + iter_line(10, 3.0, mfu=0.03) + "\n",
    "never_evaluated": iter_lines(falling(4.2, 2.0, 20)),
    "resumed": "Resuming training from out\n" + iter_lines([3.0, 2.9], start=1000),
    "multiple_runs": HEADER + iter_lines([4.0, 3.0]) + HEADER + iter_lines([4.1, 3.1]),
    "finished": "Overriding: max_iters = 20\n" + iter_lines([4.0, 3.0, 2.9]),
    "interrupted": iter_lines([4.0, 3.0]) + crash("KeyboardInterrupt"),
    "truncated": "Overriding: max_iters = 2000\n" + iter_lines([4.0, 3.0, 2.9]),
    "crashed": HEADER + crash("ValueError: Unknown config key: batchsize"),
    "out_of_memory": (FIXTURES / "out_of_memory.log").read_text(),
    "header_only": HEADER,
    "empty": " \n\n",
    "not_a_training_log": "Dear diary,\nnothing happened today.\n",
    "unsupported_format": "step 00010/01000 (1.00%) | loss: 3.1 | lrm: 1.0\n" * 5,
}  # fmt: skip

NEAR_MISSES: dict[str, str] = {
    "healthy": eval_lines(FORGETTING),
    "still_improving": FIRES["plateau"],
    "plateau": eval_lines([*GOOD_EVALS, (1.3, 1.55), (1.25, 1.51), (1.2, 1.49), (1.15, 1.475)]),
    # shakespeare-char at its best point, and the scatter of 20-batch estimates around it
    "overfitting": eval_lines(
        [(4.2, 4.2), (1.5, 1.62), (1.2, 1.5), (1.1, 1.47), (1.06, 1.49), (1.03, 1.478)]
    ),
    # val alone rises: overfitting, not instability
    "unstable": eval_lines(FORGETTING),
    # a hard start that comes down below the untrained loss
    "diverged": iter_lines([10.9, 9.8, 12.0, 11.5, 8.0, 6.0, 5.0, 4.8, 4.7]),
    "nonfinite": iter_lines([10.9, 9.8, 7.8]) + "step_avg:nanms\nmfu nan\n",
    # batches that scatter by half a nat
    "loss_spike": iter_lines([*falling(10.9, 3.6, 60), 3.2, 4.1, 3.3, 4.2, 3.1, 4.0, 3.6, 4.3]),
    "no_learning": HEADER + iter_lines([10.83 - 0.02 * i for i in range(30)], interval=100),
    "bad_initial_loss": HEADER + iter_lines([10.9878, 10.3, 9.9]),
    "eval_time_spike": "step 10: train loss 2.0, val loss 2.1\n" + iter_lines([3.0, 2.9, 2.8]),
    "slow_first_iterations": iter_line(0, 4.2, ms=100.0) + "\n" + iter_lines([3.0] * 5, start=10),
    "mfu_not_measured_yet": iter_lines([4.0, 3.0]),
    "mfu_reference_device": "Overriding: device = cuda\n" + iter_line(10, 3.0, mfu=0.2) + "\n",
    "never_evaluated": iter_lines([4.0, 3.0, 2.9]),
    "resumed": iter_lines([3.0, 2.9], start=1000),  # an excerpt
    "multiple_runs": HEADER + iter_lines([4.0, 3.0]),
    "finished": "Overriding: max_iters = 2000\n" + iter_lines([4.0, 3.0, 2.9]),
    "interrupted": iter_lines([4.0, 3.0]) + crash("ValueError: KeyboardInterrupt"),
    "truncated": eval_lines(GOOD_EVALS),
    # the traceback of some other program
    "crashed": crash("KeyError: 1").replace("train.py", "shop.py"),
    "out_of_memory": HEADER + iter_lines([4.0]) + "memory allocated: 20 GiB of 24 GiB\n",
    "header_only": HEADER + iter_lines([4.0]),
    "empty": ".\n",
    "not_a_training_log": iter_lines([4.0]),
    "unsupported_format": "nanochat prints 'step 00010/01000 (1.00%) | loss: 3.1 |'\n" + iter_lines([4.0]),
}


@pytest.mark.parametrize("code", FIRES)
def test_fires(code: str) -> None:
    assert code in codes(FIRES[code])


@pytest.mark.parametrize("code", NEAR_MISSES)
def test_near_miss(code: str) -> None:
    assert code not in codes(NEAR_MISSES[code])


def test_a_healthy_run_gets_no_warning() -> None:
    text = (FIXTURES / "shakespeare_cpu.log").read_text()
    explanation = explain_text(text)
    assert explanation.codes[0] == "healthy"
    assert {f.severity for f in explanation.findings} == {"info"}
    assert "finished" in explanation.codes


def test_our_healthy_run_gets_only_good_news() -> None:
    text = metrics([*falling(4.2, 1.9, 21)], end="finished")
    assert codes(text) == ("healthy", "still_improving", "finished")


def test_the_pair_of_nanogpt() -> None:
    """Evaluation is inside the last time, MFU fell through the 0.9/0.1 average, strong overfitting."""
    text = (FIXTURES / "pair.log").read_text()
    overfit, slow = finding(text, "overfitting"), finding(text, "eval_time_spike")
    assert overfit.title == "Strong overfitting"
    assert overfit.severity == "warning"
    assert slow.severity == "info"
    assert slow.numbers["extra_ms"] == pytest.approx(4446.83 - 33.23)
    assert slow.numbers["mfu_expected_percent"] == pytest.approx(9.99, abs=0.005)
    assert "0.9 x 11.09 + 0.1 x 0.08 = 9.99 %" in slow.message


def test_strength_of_overfitting() -> None:
    assert finding(eval_lines(FORGETTING), "overfitting").title == "Strong overfitting"
    mild = [(4.2, 4.2), (2.0, 2.1), (1.5, 1.6), (1.4, 1.66), (1.3, 1.7)]
    mild_finding = finding(eval_lines(mild), "overfitting")
    assert mild_finding.title == "Overfitting"
    assert mild_finding.numbers["best_iter"] == 500


def test_a_gap_between_the_splits_from_the_start_is_no_overfitting() -> None:
    assert "overfitting" not in codes(eval_lines([(3.0, 4.0), (2.0, 3.1), (1.2, 2.2), (1.1, 2.1)]))


def test_a_diverged_loss_that_falls_again_is_no_improvement() -> None:
    found = codes(FIRES["diverged"])
    assert found[0] == "diverged"
    assert not {"still_improving", "healthy", "loss_spike"} & set(found)


def test_where_it_diverged() -> None:
    numbers = finding(FIRES["diverged"], "diverged").numbers
    assert (numbers["best_iter"], numbers["onset_iter"]) == (40, 50)


def test_nan_names_the_last_good_iteration() -> None:
    assert finding(FIRES["nonfinite"], "nonfinite").iters == (20, 30)


def test_spike_that_stays_up_is_told_from_one_that_heals() -> None:
    healed = finding(FIRES["loss_spike"], "loss_spike")
    assert healed.numbers["n_spikes"] == 1
    assert "came down again" in healed.message
    stayed = finding(iter_lines(falling(10.9, 3.6, 60) + [6.5] * 8), "loss_spike")
    assert "not come all the way back" in stayed.message


def test_defaults_of_a_fork_are_not_assumed() -> None:
    """A header without overrides whose product does not match tells nothing of max_iters."""
    text = HEADER.replace("491,520", "999") + iter_lines([10.9, 9.0])
    assert "truncated" not in codes(text)
    assert finding(HEADER + iter_lines([10.9, 9.0]), "truncated").numbers["max_iters"] == 600_000


def test_memory_advice_halves_the_batch() -> None:
    found = finding(FIRES["out_of_memory"], "out_of_memory")
    assert "batch_size 32 with gradient_accumulation_steps 80" in found.advice
    assert "12.28 GiB" in found.message
    assert codes(FIRES["out_of_memory"]) == ("out_of_memory",)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "RuntimeError: random_ expects 'from' to be less than 'to', but got from=0 >= to=-450",
            "block_size",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/x/train.bin'", "nanogpt prepare"),
        ("ValueError: Unknown config key: batchsize", "misspelt"),
        ("IndexError: index out of range in self", "vocab"),
        ("AssertionError: Torch not compiled with CUDA enabled", "cpu"),
        ("KeyError: '_orig_mod.transformer.wte.weight'", "compile"),
        ("ZeroDivisionError: division by zero in get_lr decay_ratio", "warmup_iters"),
        ("OSError: We couldn't connect to 'https://huggingface.co'", "network"),
        ("ModuleNotFoundError: No module named 'tiktoken'", "pip install"),
    ],
)
def test_usual_causes(error: str, words: str) -> None:
    found = finding(HEADER + crash(error), "crashed")
    assert found.numbers["exception"] == error.split(":")[0]
    assert words in found.advice


def test_zero_division_in_the_schedule_is_known_by_its_line() -> None:
    text = crash(
        "ZeroDivisionError: division by zero",
        "decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)",
    )
    assert "lr_decay_iters above warmup_iters" in finding(HEADER + text, "crashed").advice


def test_torchruns_own_exception_is_not_the_crash() -> None:
    echo = crash("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:")
    ended = "  traceback : Signal 15 (SIGTERM) received by PID 7\n"
    assert codes(iter_lines([4.0, 3.0]) + echo + ended)[0] == "interrupted"
    root = "".join(f"[rank1]: {line}\n" for line in crash("KeyError: 'wte'").splitlines())
    assert finding(HEADER + root + echo, "crashed").numbers["exception"] == "KeyError"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("finished", "finished"),
        ("SIGINT", "interrupted"),
        ("SIGTERM", "interrupted"),
        ("nonfinite", "nonfinite"),
    ],
)
def test_endings_of_our_own_runs(reason: str, code: str) -> None:
    text = metrics(falling(4.2, 1.9, 15), end=reason)
    assert code in codes(text)
    assert "truncated" not in codes(text)


def test_our_stopped_run_lost_nothing() -> None:
    found = finding(metrics(falling(4.2, 1.9, 15), end="SIGTERM"), "interrupted")
    assert "nothing is lost" in found.message
    assert "--resume" in found.advice


def test_our_killed_run_is_truncated() -> None:
    assert "truncated" in codes(metrics(falling(4.2, 1.9, 15)))


def test_our_train_log_has_none_of_nanogpts_habits() -> None:
    text = "run directory: out/x\ndevice: cpu (2 threads), float32 (why)\n" + FIRES["mfu_reference_device"]
    assert "mfu_reference_device" not in codes(text)
    ended = explain_text(text + "finished after 10 iterations in 0:07, best val loss 2.0 at iteration 5\n")
    assert ended.codes == ("finished",)


def test_resume_in_metrics_is_one_run() -> None:
    text = metrics(falling(4.2, 2.5, 10)) + record("run", resumed_from_iter=100)
    text += record("step", step=100, loss=2.4) + record("step", step=110, loss=2.3)
    explanation = explain_text(text)
    assert "resumed" in explanation.codes
    assert "multiple_runs" not in explanation.codes


def test_a_little_worse_than_untrained_is_diverged() -> None:
    assert "diverged" in codes(HEADER + iter_lines([10.9, 8.0, 6.0, 5.0] + [11.6] * 6))
    assert "diverged" not in codes(HEADER + iter_lines([10.9, 8.0, 6.0, 5.0] + [10.9] * 6))

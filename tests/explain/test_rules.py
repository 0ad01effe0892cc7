"""Each rule: one log that fires it, one near miss that must not."""

import pytest

from tests.explain.rule_logs import FIRES, FORGETTING, MORE, NEAR_MISSES
from tests.explain.samples import (
    FIXTURES,
    HEADER,
    codes,
    crash,
    eval_lines,
    explain_text,
    falling,
    finding,
    iter_lines,
    metrics,
    record,
    table_run,
)


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
    assert codes(text) == ("healthy", "finished", "undertrained")


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


def test_one_thing_is_said_once() -> None:
    """Under-trained says that it still improves; learning by heart says that nothing was evaluated."""
    rush = codes(eval_lines([(4.2, 4.2), (2.5, 2.5), (2.0, 2.0), (1.8, 1.8), (1.6, 1.6)]))
    assert "undertrained" in rush
    assert "still_improving" not in rush
    by_heart = codes(MORE["overfitting.by_heart"])
    assert "overfitting" in by_heart
    assert "never_evaluated" not in by_heart


def test_spikes_that_left_validation_worse_did_not_heal() -> None:
    spikes = finding(MORE["lr_too_high.spikes"], "loss_spike")
    assert "lr_too_high" in codes(MORE["lr_too_high.spikes"])
    assert spikes.title == "Loss spikes"
    assert spikes.severity == "warning"


def test_a_log_that_names_no_checkpoint_proves_no_problem() -> None:
    """A fork may save without a word, so it comes after the verdict on the learning."""
    assert finding(FIRES["checkpoint_missing"], "checkpoint_missing").severity == "info"


def test_muons_rate_is_not_judged_as_adamws() -> None:
    """0.02 is Muon's usual rate, and twenty times what AdamW bears."""
    broken = [(4.2, 4.2), (2.4, 2.45), (2.0, 2.1), (7.0, 7.0), (8.0, 8.0)]
    assert "lr_too_high" in codes(table_run(broken, optimizer="adamw"))
    assert "lr_too_high" not in codes(table_run(broken))


def test_a_table_of_ngrams_is_not_starved_of_tokens() -> None:
    """Its rows are looked up: 200,000 tokens are few for 52M parameters, and not for 1.8M."""
    assert codes(MORE["healthy.gap_of_table"]) == ("healthy", "finished", "still_improving")
    rush = table_run([(4.2, 4.2), (2.6, 2.6), (2.2, 2.2), (2.0, 2.0), (1.8, 1.8)])
    assert 0.1 < finding(rush, "undertrained").numbers["tokens_per_parameter"] < 0.2


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
    healed = finding(MORE["loss_spike.recovered"], "loss_spike")
    assert healed.severity == "info"
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
    assert ended.codes == ("log_too_sparse", "finished")


def test_resume_in_metrics_is_one_run() -> None:
    text = metrics(falling(4.2, 2.5, 10)) + record("run", resumed_from_iter=100)
    text += record("step", step=100, loss=2.4) + record("step", step=110, loss=2.3)
    explanation = explain_text(text)
    assert "resumed" in explanation.codes
    assert "multiple_runs" not in explanation.codes


def test_a_little_worse_than_untrained_is_diverged() -> None:
    assert "diverged" in codes(HEADER + iter_lines([10.9, 8.0, 6.0, 5.0] + [11.6] * 6))
    assert "diverged" not in codes(HEADER + iter_lines([10.9, 8.0, 6.0, 5.0] + [10.9] * 6))

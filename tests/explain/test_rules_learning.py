"""The numbers behind the findings on learning and learning rates, and what must not be called a problem."""

import pytest

from nanogpt_cli.explain.learning_rate import usual_rate
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Run
from tests.explain.rule_logs import CHAR, FIRES, FORGETTING, MORE, modded, nanochat, noisy, settings
from tests.explain.samples import (
    HEADER,
    codes,
    eval_lines,
    explain_text,
    falling,
    finding,
    iter_lines,
    metrics,
    run_log,
)

PROBLEMS = {"overfitting", "unstable", "diverged", "loss_spike", "split_mismatch", "val_noise", "plateau"}


def test_chat_fine_tuning_is_not_too_good_to_be_true() -> None:
    """Answers are easier than prose, and the model began trained; from scratch the same number is a leak."""
    assert "loss_below_expected" not in codes(nanochat([0.42, 0.39, 0.37, 0.36], falling(1.2, 0.8, 40)))
    assert "loss_below_expected" in codes(nanochat([3.2, 0.6, 0.4, 0.36], falling(10.0, 0.8, 40)))
    answers = nanochat([1.2, 1.0, 0.85, 0.8], falling(1.2, 0.8, 40))
    answers.runs[0].val_unit, answers.runs[0].vocab_size = "nats", 65_536
    assert "loss_below_expected" not in codes(answers)


def test_how_fast_it_still_fell() -> None:
    found = finding(eval_lines([(4.2, 4.2), (2.5, 2.5), (2.0, 2.0), (1.8, 1.8), (1.6, 1.6)]), "undertrained")
    assert (found.numbers["half_iter"], found.numbers["last_iter"]) == (500, 1000)
    assert found.numbers["fall_percent"] == pytest.approx(20.0)


def test_a_fall_is_judged_as_one_of_a_doubling() -> None:
    """11 % from 100 to 250 iterations are 8 % for a doubling; 11 % from 125 to 250 are the first rush."""
    losses = [(4.2, 4.2), (3.1, 3.1), (2.85, 2.85), (2.7, 2.7), (2.6, 2.6), (2.53, 2.53)]
    assert "undertrained" not in codes(eval_lines(losses, 50))
    losses = [(4.2, 4.2), (3.1, 3.1), (2.85, 2.85), (2.7, 2.7), (2.53, 2.53)]
    assert "undertrained" in codes(eval_lines(losses, 50))


def test_tokens_per_parameter() -> None:
    numbers = finding(MORE["undertrained.starved"], "undertrained").numbers
    assert numbers["tokens_per_parameter"] == pytest.approx(491_520 * 80 / 123.59e6)


def test_a_speedruns_late_fall_is_its_schedule() -> None:
    vals = [10.8, 4.4, 3.98, 3.78, 3.66, 3.58, 3.5, 3.4, 3.3, 3.2]
    finished = modded(vals)
    finished.runs[0].config["max_iters"] = 900
    assert "undertrained" not in codes(finished)
    assert "undertrained" in codes(eval_lines([(x, x) for x in vals], 100))


@pytest.mark.parametrize("seed", range(8))
def test_the_scatter_of_200_batches_is_no_problem(seed: int) -> None:
    """Estimates around a curve like GPT-2's on a large text, and batches around them."""
    curve = [3.0 + 8.0 / (1 + i) for i in range(24)]
    pairs = zip(noisy(curve, 0.006, seed), noisy(curve, 0.006, seed + 100), strict=True)
    text = eval_lines(pairs, 1000)
    assert not PROBLEMS & set(codes(text))
    assert codes(text)[0] == "healthy"
    batches = noisy([3.0 + 8.0 / (1 + i / 10) for i in range(240)], 0.08, seed)
    assert not PROBLEMS & set(codes(iter_lines(batches, 100)))


@pytest.mark.parametrize("seed", range(8))
def test_twenty_batches_at_the_best_point_are_no_overfitting(seed: int) -> None:
    """Tiny Shakespeare by characters, evaluated over 20 batches: scatter 0.02 on a flat validation loss."""
    train = [4.2, 2.0, 1.54, 1.36, 1.27, 1.2, 1.15, 1.1, 1.06]
    val = noisy([4.2, 2.1, 1.73, 1.59, 1.52, 1.49, 1.48, 1.475, 1.47], 0.02, seed)
    assert not {"overfitting", "unstable"} & set(codes(eval_lines(zip(train, val, strict=True))))


def test_a_few_evaluations_that_rise_steadily_are_overfitting() -> None:
    """The bend of so short a curve must not pass for the scatter of its estimates."""
    train = [10.8, 4.4, 3.9, 3.5, 3.3, 3.1, 2.9]
    val = [10.8, 4.45, 3.95, 3.549, 3.611, 3.778, 3.95]
    assert "overfitting" in codes(eval_lines(zip(train, val, strict=True)))


def test_where_validation_was_best_and_what_was_wasted() -> None:
    numbers = finding(eval_lines(FORGETTING), "overfitting").numbers
    assert numbers["best_iter"] == 750
    assert numbers["wasted_percent"] == pytest.approx(50.0)


def test_overfitting_without_a_training_estimate_uses_the_batches_around() -> None:
    """llm.c and the Trainer evaluate the validation set alone; their batches tell of training."""
    run = Run(trainer="llm.c", nanogpt_habits=False)
    run.iters = [IterPoint(i, 4.0 - 0.003 * i) for i in range(1000)]
    vals = [10.8, 4.0, 3.6, 3.5, 3.6, 3.75, 3.9, 4.1]
    run.evals = [EvalPoint(100 * i, None, val) for i, val in enumerate(vals)]
    found = finding(run_log(run), "overfitting")
    assert found.numbers["best_iter"] == 300
    assert found.numbers["train_loss"] == pytest.approx(4.0 - 0.003 * 700, abs=0.05)


def test_both_rising_is_not_overfitting_whoever_logged_it() -> None:
    run = Run(trainer="llm.c", nanogpt_habits=False)
    run.iters = [IterPoint(i, 3.4 + 0.0008 * max(0, i - 300) + 6 / (1 + i)) for i in range(1000)]
    run.evals = [EvalPoint(100 * i, None, v) for i, v in enumerate([10.8, 4.0, 3.6, 3.5, 3.7, 3.9, 4.1, 4.3])]
    found = codes(run_log(run))
    assert "unstable" in found
    assert "overfitting" not in found


def test_bits_per_byte_have_their_own_scale() -> None:
    """A rise of 0.02 bits per byte is what 0.06 nats per token are."""
    assert "overfitting" in codes(nanochat([3.2, 0.6, 0.5, 0.52, 0.525], falling(10.4, 1.5, 41)))
    assert "overfitting" not in codes(nanochat([3.2, 0.6, 0.5, 0.501, 0.502], falling(10.4, 1.5, 41)))


def test_learning_by_heart_needs_a_text() -> None:
    """A sorting puzzle (minGPT's demo) starts at ln 3 and is solved, not memorised."""
    puzzle = run_log(
        Run(
            trainer="mingpt",
            nanogpt_habits=False,
            iters=[IterPoint(100 * i, 1.1 / (1 + i)) for i in range(20)],
        )
    )
    assert "overfitting" not in codes(puzzle)


def test_a_loop_of_epochs_overfits_too() -> None:
    lines = [
        f"Epoch {i}/12 - train loss: {2.4 / i:.4f} - val loss: {1.5 + 0.05 * abs(i - 5):.4f}\n"
        for i in range(1, 13)
    ]
    found = finding("".join(lines), "overfitting")
    assert (found.numbers["best_iter"], found.numbers["last_iter"]) == (5, 12)


def test_the_mean_of_an_epoch_is_no_step() -> None:
    lines = [f"Epoch 1 | Step {i}/900 | Loss: {4 - 0.02 * i:.4f} | LR: 1e-04\n" for i in range(0, 100, 10)]
    log = "".join([*lines, "Epoch 1 completed in 30.85s | Avg Loss: 3.1\n", "Epoch 1 | Val loss: 2.9\n"])
    explanation = explain_text(log)
    assert not {"multiple_runs", "resumed"} & set(explanation.codes)
    assert explanation.run.evals[-1].iter_num == 90


def test_flat_far_above_the_floor_is_stuck_and_not_healthy() -> None:
    for log in (MORE["plateau.stuck"], MORE["plateau.stuck_train"]):
        found = finding(log, "plateau")
        assert (found.title, found.severity) == ("Stuck", "warning")
        assert "healthy" not in codes(log)


def test_flat_at_the_floor_is_healthy() -> None:
    assert finding(FIRES["plateau"], "plateau").title == "Flat"
    assert codes(FIRES["plateau"])[0] == "healthy"


def test_batches_that_still_fall_are_not_stuck() -> None:
    slow = noisy([10.9 - 0.03 * i for i in range(120)], 0.05)
    assert "plateau" not in codes(iter_lines(slow))


def test_a_healed_spike_leaves_the_run_healthy() -> None:
    found = codes(MORE["loss_spike.recovered"])
    assert found[0] == "healthy"
    assert "loss_spike" in found


def test_the_best_known_loss_of_shakespeare_is_not_too_good() -> None:
    assert "loss_below_expected" not in codes(CHAR + eval_lines([(4.2, 4.2), (1.5, 1.7), (1.06, 1.4687)]))


def test_usual_rates_fall_with_size() -> None:
    """GPT-3's table: 6e-4 at 125 million parameters, 2e-4 at 1.3 billion."""
    assert usual_rate(1.25e8) == pytest.approx(6e-4)
    assert usual_rate(1.3e9) == pytest.approx(2e-4)
    sizes = [1e6, 1e7, 3e7, 1.25e8, 2e8, 1e9, 1e10, 1e12]
    rates = [usual_rate(size) for size in sizes]
    assert rates == sorted(rates, reverse=True)


def test_too_high_a_rate_is_named_with_the_usual_one() -> None:
    found = finding(MORE["lr_too_high"], "lr_too_high")
    assert found.numbers["times"] == pytest.approx(10.0, rel=0.01)
    assert "--learning_rate=6.0e-04" in found.advice


def test_a_rate_a_hundred_times_too_high_is_named_even_if_the_loss_falls() -> None:
    """AdamW with clipped gradients does not diverge at 0.5, it just learns next to nothing."""
    rate = settings(learning_rate=0.5, warmup_iters=10, min_lr=1e-5, lr_decay_iters=400, max_iters=400)
    text = rate + CHAR + "number of parameters: 0.80M\n" + iter_lines(falling(4.2, 3.3, 41))
    assert "lr_too_high" in codes(text)
    assert "healthy" not in codes(text)
    assert "lr_too_high" not in codes(text.replace("0.5", "0.003"))


def test_the_cosine_that_never_came_down() -> None:
    """At 1,000 of 600,000 iterations the rate is still all of it."""
    numbers = finding(FIRES["lr_not_decayed"], "lr_not_decayed").numbers
    assert numbers["share_percent"] == pytest.approx(100.0, abs=0.1)


def test_the_rate_as_logged_goes_before_the_schedule() -> None:
    evals = [(4.2, 4.2), (2.4, 2.5), (1.9, 2.0), (1.8, 1.9), (1.8, 1.9), (1.8, 1.9), (1.8, 1.9), (1.8, 1.9)]
    rates = [1e-3, 1e-3, 5e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4]
    run = Run(trainer="unknown", nanogpt_habits=False)
    run.evals = [
        EvalPoint(250 * i, *pair, rate) for i, (pair, rate) in enumerate(zip(evals, rates, strict=True))
    ]
    assert finding(run_log(run), "lr_decayed_early").numbers["since_iter"] == 750


def test_nanogpts_default_warm_up_in_a_short_run() -> None:
    """warmup_iters is not printed; train.py's 2,000 holds where all else shows that defaults hold."""
    text = (
        settings(max_iters=1000, eval_interval=250)
        + HEADER
        + eval_lines([(10.9, 10.9), (8.0, 8.0), (7.0, 7.0), (6.5, 6.5), (6.2, 6.2)])
    )
    found = finding(text, "lr_too_low")
    assert found.numbers["warmup_iters"] == 2000
    assert "--warmup_iters=50" in found.advice


def test_how_many_batches_would_do() -> None:
    numbers = finding(MORE["val_noise.eval_iters"], "val_noise").numbers
    noise = float(numbers["noise"])
    assert noise == pytest.approx(0.06, rel=0.5)
    assert numbers["better_eval_iters"] == pytest.approx(5 * (noise / 0.01) ** 2, abs=5)


def test_a_model_that_swings_is_no_noisy_estimate() -> None:
    """Train and validation loss jump together, so the weights do."""
    swing = noisy([1.9] * 24, 0.06)
    text = eval_lines([(4.2, 4.2), *((value - 0.1, value) for value in swing)])
    assert "val_noise" not in codes(text)


def test_a_stop_that_saved_leaves_no_tail() -> None:
    losses = falling(4.2, 1.9, 29)  # evaluated at 250, stopped at 280
    assert "tail_unevaluated" in codes(metrics(losses))
    assert "tail_unevaluated" not in codes(metrics(losses, end="SIGINT"))

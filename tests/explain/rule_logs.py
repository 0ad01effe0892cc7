"""For every rule a log that fires it and a near miss that must not; MORE reaches the remaining wordings."""

import random
from collections.abc import Sequence
from math import nan

from nanogpt_cli.explain.records import Ending, EvalPoint, IterPoint, Log, Run
from tests.explain.samples import (
    FIXTURES,
    HEADER,
    WITH_TABLE,
    crash,
    eval_lines,
    falling,
    iter_line,
    iter_lines,
    metrics,
    run_log,
    table_run,
)

CHAR = "found vocab_size = 65 (inside data/x/meta.pkl)\n"
GOOD_EVALS = [(4.2, 4.2), (2.4, 2.45), (1.9, 2.0), (1.6, 1.75), (1.4, 1.62)]
FORGETTING = [(4.2, 4.2), (1.9, 2.0), (1.3, 1.55), (1.06, 1.47), (0.85, 1.55), (0.7, 1.63), (0.62, 1.70)]
FLAT = [(4.2, 4.2), (2.0, 2.1), (1.5, 1.6), (1.3, 1.472), (1.2, 1.470), (1.18, 1.469),
        (1.15, 1.471), (1.12, 1.470), (1.1, 1.471)]  # fmt: skip
SAVING = "saving checkpoint to out\n"


def noisy(losses: Sequence[float], scatter: float, seed: int = 1) -> list[float]:
    """The same curve with the scatter of small batches."""
    generator = random.Random(seed)
    return [loss + generator.gauss(0, scatter) for loss in losses]


def timed(times_ms: Sequence[float], start: int = 0) -> str:
    """Training lines of a slowly falling loss, every tenth iteration, that took these times."""
    losses = falling(4.2, 2.0, len(times_ms))
    lines = [iter_line(start + 10 * i, losses[i], ms) for i, ms in enumerate(times_ms)]
    return "\n".join(lines) + "\n"


def saved_after_each(evals: Sequence[tuple[float, float]]) -> str:
    """Evaluations every 250 iterations, each followed by nanoGPT's line about its checkpoint."""
    return "".join(line + "\n" + SAVING for line in eval_lines(evals).splitlines())


def together(losses: Sequence[float], evals: Sequence[tuple[float, float]]) -> str:
    """Training lines every ten iterations with the evaluations, every 100, between them."""
    lines = iter_lines(losses).splitlines()
    for i, line in reversed(list(enumerate(eval_lines(evals, 100).splitlines()))):
        lines.insert(10 * i, line)
    return "\n".join(lines) + "\n"


def settings(**values: object) -> str:
    """The lines nanoGPT prints for command line settings."""
    return "".join(f"Overriding: {name} = {value}\n" for name, value in values.items())


def crashed_while_saving() -> str:
    text = (
        HEADER + iter_lines([10.9, 9.0]) + eval_lines([(4.0, 4.0)], interval=1).replace("step 0", "step 20")
    )
    return (
        text
        + SAVING
        + crash("RuntimeError: [enforce fail at inline_container.cc:595] . unexpected pos 64 vs 8")
    )


def modded(vals: Sequence[float]) -> Log:
    """A log with validation losses only, every 100 iterations."""
    evals = [EvalPoint(100 * i, None, val) for i, val in enumerate(vals)]
    return run_log(Run(trainer="modded-nanogpt", nanogpt_habits=False, evals=evals))


def planned() -> Log:
    """A run of another trainer that got to its last iteration."""
    evals = [EvalPoint(100 * i, None, val) for i, val in enumerate([10.8, 4.0, 3.6, 3.4, 3.3])]
    run = Run(trainer="modded-nanogpt", nanogpt_habits=False, config={"max_iters": 400}, evals=evals)
    return run_log(run)


def nanochat(vals: Sequence[float], trains: Sequence[float], norms: Sequence[float] = ()) -> Log:
    """A log in bits per byte, with running averages of the training loss."""
    run = Run(trainer="nanochat", nanogpt_habits=False, val_unit="bpb", smoothed=True)
    run.iters = [
        IterPoint(50 * i, loss, 600.0, grad_norm=norms[i] if norms else None) for i, loss in enumerate(trains)
    ]
    run.evals = [EvalPoint(500 * i, None, val) for i, val in enumerate(vals)]
    return run_log(run)


def torchtitan(losses: Sequence[float], norm: float) -> Log:
    """A few steps of a large model, counted from 1."""
    run = Run(trainer="torchtitan", nanogpt_habits=False)
    run.iters = [IterPoint(i + 1, loss, 500.0, grad_norm=norm) for i, loss in enumerate(losses)]
    return run_log(run)


def epochs(losses: Sequence[float], seen: float | None = None) -> Log:
    """minGPT: one training loss an epoch of 17 iterations, nothing validated."""
    run = Run(trainer="mingpt", nanogpt_habits=False, epochs_seen=seen)
    run.iters = [IterPoint(17 * (i + 1), loss) for i, loss in enumerate(losses)]
    return run_log(run)


NOISY_VALS = noisy([1.9] * 24, 0.06)
SIZES = "Tried to allocate 6.14 GiB. GPU 0 has a total capacity of 44.42 GiB of which {free} GiB is free."
HELD = " Including non-PyTorch memory, this process has {held} GiB memory in use."
MEMORY = "torch.OutOfMemoryError: CUDA out of memory. " + SIZES + HELD

FIRES: dict[str, str | Log] = {
    "healthy": eval_lines(GOOD_EVALS),
    "still_improving": eval_lines([(4.2, 4.2), (2.4, 2.45), (1.9, 2.0), (1.7, 1.9), (1.65, 1.83)]),
    "plateau": eval_lines(FLAT),
    "undertrained": eval_lines(GOOD_EVALS),
    "overfitting": eval_lines(FORGETTING),
    "unstable": eval_lines([(11, 11), (4, 4), (3.5, 3.5), (3.8, 3.8), (3.9, 3.9), (3.85, 3.86)]),
    "diverged": iter_lines([10.9, 9.8, 7.8, 6.0, 5.0, 270.0, 120.0, 60.0, 40.0, 31.0]),
    "nonfinite": iter_lines([10.9, 9.8, 7.8, float("nan"), float("nan")]),
    "loss_spike": iter_lines(falling(10.9, 3.6, 60) + [6.5] * 6),
    "lr_too_high": torchtitan([12.5, 10.7, 14.7, 21.0, 26.0, 17.4, 18.0, 17.1, 15.9, 20.5], norm=50.0),
    "lr_too_low": HEADER + settings(learning_rate=1e-5, warmup_iters=10) + iter_lines(
        [10.9 - 0.05 * i for i in range(60)], interval=100),
    "lr_decayed_early": settings(max_iters=2000, lr_decay_iters=1000, learning_rate=1e-3, min_lr=1e-4,
                                 warmup_iters=100) + eval_lines([*GOOD_EVALS, *[(1.4, 1.6)] * 4]),
    "lr_not_decayed": settings(max_iters=1000, lr_decay_iters=600000, learning_rate=1e-3, min_lr=1e-4,
                               warmup_iters=100) + eval_lines(GOOD_EVALS),
    "no_learning": HEADER + iter_lines([10.83, 10.82] * 15, interval=100),
    "bad_initial_loss": HEADER + iter_lines([130.6, 120.0, 110.0]),
    "loss_below_expected": CHAR + eval_lines([(4.2, 4.2), (1.9, 1.9), (0.9, 0.92), (0.5, 0.52), (0.4, 0.42)]),
    "split_mismatch": eval_lines([(10.8, 10.8), (5.0, 5.6), (4.4, 5.0), (4.0, 4.65), (3.8, 4.45)]),
    "val_noise": eval_lines([(4.2, 4.2), *((1.8, val) for val in NOISY_VALS)]),
    "eval_time_spike": (FIXTURES / "pair.log").read_text(encoding="utf-8"),
    "slow_first_iterations": iter_line(0, 4.2, ms=9000.0) + "\n" + iter_lines([3.0] * 5, start=10),
    "time_drift": timed([100 + 0.5 * i for i in range(100)]),
    "time_stall": timed([5000.0 if i in (13, 40, 77, 81) else 100.0 for i in range(100)]),
    "mfu_not_measured_yet": iter_line(0, 4.2, mfu=-100.0) + "\n" + iter_line(10, 3.0) + "\n",
    "mfu_reference_device": settings(device="cpu") + iter_line(10, 3.0, mfu=0.03) + "\n",
    "mfu_impossible": "".join(iter_line(10 * i, 4.0, mfu=1250.0) + "\n" for i in range(10)),
    "low_mfu": settings(device="cuda") + "".join(iter_line(10 * i, 4.0, mfu=2.4) + "\n" for i in range(12)),
    "never_evaluated": iter_lines(falling(4.2, 2.0, 20)),
    "log_too_sparse": iter_lines(noisy([1.6] * 10, 0.05), interval=1),
    "tail_unevaluated": eval_lines(GOOD_EVALS) + iter_line(1130, 1.6) + "\n",
    "checkpoint_missing": HEADER + eval_lines(GOOD_EVALS),
    "checkpoint_overwritten_worse": saved_after_each(FORGETTING),
    "data_repeated": settings(dataset="shakespeare_char") + HEADER + iter_lines([10.9, 8.0, 6.0]),
    "resumed": "Resuming training from out\n" + iter_lines([3.0, 2.9], start=1000),
    "multiple_runs": HEADER + iter_lines([4.0, 3.0]) + HEADER + iter_lines([4.1, 3.1]),
    "duplicated_lines": run_log(Run(iters=[IterPoint(0, 4.0), IterPoint(10, 3.0)]), duplicated=40),
    "finished": settings(max_iters=20) + iter_lines([4.0, 3.0, 2.9]),
    "interrupted": iter_lines([4.0, 3.0]) + crash("KeyboardInterrupt"),
    "truncated": settings(max_iters=2000) + iter_lines([4.0, 3.0, 2.9]),
    "crashed": HEADER + crash("ValueError: Unknown config key: batchsize"),
    "disk_full": HEADER + crash("OSError: [Errno 28] No space left on device: 'out/ckpt.pt'"),
    "out_of_memory": (FIXTURES / "out_of_memory.log").read_text(encoding="utf-8"),
    "header_only": HEADER,
    "empty": " \n\n",
    "not_a_training_log": "Dear diary,\nnothing happened today.\n",
}  # fmt: skip

NEAR_MISSES: dict[str, str | Log] = {
    "healthy": eval_lines(FORGETTING),
    "still_improving": eval_lines(FLAT),
    "plateau": eval_lines([*GOOD_EVALS, (1.3, 1.55), (1.25, 1.51), (1.2, 1.49), (1.15, 1.475)]),
    # GPT-2 at 13,000 iterations: 4 % for the last doubling
    "undertrained": eval_lines([(11, 11), (3.5, 3.5), (3.41, 3.42), (3.35, 3.36), (3.27, 3.28)], 3000),
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
    # large gradients in the first steps, and a loss that falls all the same
    "lr_too_high": torchtitan([12.5, 12.0, 11.0, 10.1, 9.5, 9.0, 8.7, 8.5, 8.3, 8.2], norm=50.0),
    # the rate that is right for fine-tuning
    "lr_too_low": "Initializing from OpenAI GPT-2 weights: gpt2\n" + HEADER.split("Init")[0]
    + settings(learning_rate=3e-5, warmup_iters=10) + iter_lines([3.6 - 0.01 * i for i in range(60)]),
    "lr_decayed_early": settings(max_iters=2000, lr_decay_iters=2000, learning_rate=1e-3, min_lr=1e-4,
                                 warmup_iters=100) + eval_lines([*GOOD_EVALS, *[(1.4, 1.6)] * 4]),
    "lr_not_decayed": settings(max_iters=1000, lr_decay_iters=1200, learning_rate=1e-3, min_lr=1e-4,
                               warmup_iters=100) + eval_lines(GOOD_EVALS),
    "no_learning": HEADER + iter_lines([10.83 - 0.02 * i for i in range(30)], interval=100),
    "bad_initial_loss": HEADER + iter_lines([10.9878, 10.3, 9.9]),
    # Shakespeare's own best, and a training loss below every floor
    "loss_below_expected": CHAR + eval_lines([(4.2, 4.2), (1.9, 1.9), (1.1, 1.5), (0.6, 1.69), (0.35, 2.0)]),
    # a gap that opens while the text is learned by heart
    "split_mismatch": eval_lines([(4.2, 4.2), (2.0, 2.1), (1.5, 1.72), (1.27, 1.52), (1.1, 1.47)]),
    # the scatter of 20 batches around a falling loss
    "val_noise": eval_lines(zip([1.8] * 24, noisy([1.9 - 0.01 * i for i in range(24)], 0.012), strict=True)),
    "eval_time_spike": "step 10: train loss 2.0, val loss 2.1\n" + iter_lines([3.0, 2.9, 2.8]),
    "slow_first_iterations": iter_line(0, 4.2, ms=100.0) + "\n" + iter_lines([3.0] * 5, start=10),
    "time_drift": timed([100 + 0.04 * i for i in range(100)]),  # 4 %, as speeds wander
    "time_stall": timed([250.0 if i % 7 == 3 else 100.0 for i in range(100)]),
    "mfu_not_measured_yet": iter_lines([4.0, 3.0]),
    "mfu_reference_device": settings(device="cuda") + iter_line(10, 3.0, mfu=0.2) + "\n",
    "mfu_impossible": "".join(iter_line(10 * i, 4.0, mfu=62.0) + "\n" for i in range(10)),
    "low_mfu": settings(device="cuda") + "".join(iter_line(10 * i, 4.0, mfu=13.7) + "\n" for i in range(12)),
    "never_evaluated": iter_lines([4.0, 3.0, 2.9]),
    "log_too_sparse": iter_lines(falling(4.2, 2.0, 20)),
    "tail_unevaluated": eval_lines(GOOD_EVALS) + iter_line(1000, 1.6) + "\n",
    "checkpoint_missing": HEADER + saved_after_each(GOOD_EVALS),
    # only the better ones were saved
    "checkpoint_overwritten_worse": saved_after_each(FORGETTING[:4])
    + eval_lines(FORGETTING).split("\n", 4)[4],
    "data_repeated": settings(dataset="openwebtext") + HEADER + iter_lines([10.9, 8.0, 6.0]),
    "resumed": iter_lines([3.0, 2.9], start=1000),  # an excerpt
    "multiple_runs": HEADER + iter_lines([4.0, 3.0]),
    "duplicated_lines": run_log(Run(iters=[IterPoint(0, 4.0), IterPoint(10, 3.0)]), duplicated=1),
    "finished": settings(max_iters=2000) + iter_lines([4.0, 3.0, 2.9]),
    "interrupted": iter_lines([4.0, 3.0]) + crash("ValueError: KeyboardInterrupt"),
    "truncated": eval_lines(GOOD_EVALS),
    # the traceback of some other program
    "crashed": crash("KeyError: 1").replace("train.py", "shop.py"),
    "disk_full": HEADER + crash("OSError: [Errno 5] Input/output error"),
    "out_of_memory": HEADER + iter_lines([4.0]) + "memory allocated: 20 GiB of 24 GiB\n",
    "header_only": HEADER + iter_lines([4.0]),
    "empty": ".\n",
    "not_a_training_log": iter_lines([4.0]),
}  # fmt: skip


def with_evaluations(mfu_usual: float | None, mfu_after: float | None) -> str:
    """Five evaluations, each followed by a slow line and a usual one."""
    pieces = []
    for i in range(0, 50, 10):
        pieces.append(f"step {i}: train loss 3.0, val loss 3.0")
        pieces += [iter_line(i, 3, 900, mfu_after), iter_line(i + 1, 3, 50, mfu_usual)]
    return "\n".join(pieces)


SCHEDULE = settings(max_iters=2000, lr_decay_iters=2000, learning_rate=1e-3, min_lr=1e-4, warmup_iters=100)
TENSOR = "buf1 = empty_strided_cuda((32, 1024, 50304), (51511296, 50304, 1), torch.float32)"

MORE: dict[str, str | Log] = {
    "overfitting.strong": eval_lines(FORGETTING),
    "overfitting.moderate": eval_lines([(4.2, 4.2), (2.0, 2.1), (1.5, 1.6), (1.4, 1.66), (1.3, 1.7)]),
    "overfitting.bpb": nanochat([3.2, 0.9, 0.85, 0.9, 0.93], falling(10.4, 1.5, 41)),
    "overfitting.val_only": modded([10.8, 4.0, 3.5, 3.8, 4.0]),
    "overfitting.by_heart": epochs(falling(3.3, 0.3, 200), seen=200.0),
    "overfitting.ours": metrics([4.2], end="finished") + eval_lines(FORGETTING),
    "nonfinite.from_start": iter_lines([float("nan")] * 3),
    "nonfinite.recovered": iter_lines([4.0, float("nan"), 3.9, 3.8]),
    "nonfinite.zero": iter_lines([2.4, 2.3, 2.2, 2.1, 0.0, 0.0, 0.0, 0.0]),
    "nonfinite.val_only": iter_lines([4.0, 3.5]) + "step 20: train loss 3.0000, val loss nan\n",
    "nonfinite.skipping": iter_lines([5.0 - 0.1 * i for i in range(8)])
    + "".join(iter_line(80 + 10 * i, float("nan"), 46.0) + "\n" for i in range(8)),
    "nonfinite.ours": metrics(falling(4.2, 1.9, 15), end="nonfinite"),
    "diverged.short": torchtitan([12.5, 10.7, 14.7, 21.0, 26.0, 17.4], norm=1.0),
    "diverged.collapsed": iter_lines(falling(10.9, 3.4, 40) + [7.6] * 20),
    "lr_too_high": HEADER + settings(learning_rate=6e-3) + iter_lines(falling(10.9, 4.0, 40) + [11.9] * 20),
    "lr_too_high.spikes": together(
        [*falling(10.9, 3.5, 60), 6.5, *[4.1] * 12, 7.6, *[4.2] * 26],
        [(x, x) for x in (11, 4, 3.6, 3.5, 3.4, 3.4, 4.1, 4.2, 4.2)],
    ),
    "lr_too_low.warmup": settings(max_iters=2000, warmup_iters=2000, learning_rate=1e-3, min_lr=1e-4,
                                  lr_decay_iters=2000) + eval_lines([*GOOD_EVALS, *GOOD_EVALS[-1:] * 4]),
    "no_learning.unigram": CHAR + eval_lines([(4.17, 4.17), *[(3.32, 3.33)] * 12]),
    "bad_initial_loss.unknown_vocab": iter_lines([130.0, 120.0]),
    "bad_initial_loss.too_low": HEADER + iter_lines([2.5, 2.0]),
    "bad_initial_loss.vocabulary": settings(dataset="shakespeare_char") + HEADER + iter_lines([10.9, 9.0]),
    "loss_below_expected": HEADER + eval_lines([(10.8, 10.8), (1.0, 1.0), (0.6, 0.62), (0.5, 0.52)]),
    "loss_below_expected.same": eval_lines((x, x) for x in (4.1873, 2.5012, 2.0039, 1.8264, 1.7041)),
    "split_mismatch.val_easier": eval_lines([(4.2, 4.2), (2.6, 2.2), (2.2, 1.8), (2.0, 1.6), (1.9, 1.5)]),
    "val_noise.eval_iters": settings(eval_iters=5)
    + eval_lines([(4.2, 4.2), *((1.8, val) for val in NOISY_VALS)]),
    "healthy.gap": eval_lines([(4.2, 4.2), (2.0, 2.1), (1.5, 1.7), (1.2, 1.52)]),
    "healthy.gap_of_table": table_run([(4.2, 4.2), (1.6, 1.75), (1.3, 1.53), (1.25, 1.52), (1.2, 1.5)]),
    "healthy.val_only": modded([10.8, 4.4, 3.9, 3.7]),
    "healthy.bpb": nanochat([3.2, 0.9, 0.85, 0.82, 0.8], falling(10.4, 2.4, 41)),
    "healthy.train_only": iter_lines(falling(4.2, 2.0, 40)),
    "still_improving.train_only": iter_lines(falling(4.2, 1.0, 40)[:25]),
    "still_improving.schedule_ended": SCHEDULE + eval_lines(
        [*GOOD_EVALS, (1.3, 1.58), (1.25, 1.56), (1.2, 1.53), (1.15, 1.51)]),
    "still_improving.text_ended": table_run(
        [(4.2, 4.2), (1.7, 1.75), (1.45, 1.53), (1.44, 1.52), (1.4, 1.5)]),
    "still_improving.planned_end": planned(),
    "still_improving.decaying": modded([10.8, 4.0, 3.7, 3.6, 3.55, 3.52, 3.5, 3.44, 3.38, 3.3]),
    "data_repeated.numbered": epochs(falling(3.3, 1.3, 50), seen=3.0),
    "data_repeated.table": metrics(falling(3.3, 1.3, 50), **{**WITH_TABLE, "train_tokens": 200_000}),
    "data_repeated.often": epochs(falling(3.3, 1.3, 50), seen=50.0),
    "plateau.stuck": eval_lines([(10.9, 10.9), (7.5, 7.5), (6.6, 6.6), *[(6.3, 6.31)] * 9]),
    "plateau.stuck_train": iter_lines([*falling(10.9, 6.3, 40), *noisy([6.3] * 80, 0.05)]),
    "plateau.rate_high": settings(learning_rate=1e-3, decay_lr=False) + eval_lines(FLAT),
    "undertrained": eval_lines([(x, x) for x in (10.9, 5.0, 4.5, 4.2, 3.9)]),
    "undertrained.characters": eval_lines(GOOD_EVALS),
    "undertrained.train_only": iter_lines(falling(10.9, 4.0, 100)[:40]),
    "undertrained.starved": HEADER + eval_lines([(x, x) for x in (10.9, 5.0, 4.5, 4.4, 4.0)], 20),
    "log_too_sparse.few_lines": iter_lines([3.0, 2.9]),
    "log_too_sparse.early": iter_lines(falling(4.2, 2.5, 20), interval=1),
    "log_too_sparse.one_eval": iter_lines(falling(4.2, 2.0, 80)) + "step 790: train loss 2.0, val loss 2.1\n",
    "never_evaluated.others": torchtitan(falling(10.8, 4.0, 200), norm=1.0),
    "tail_unevaluated.saved": saved_after_each(GOOD_EVALS) + iter_line(1130, 1.6) + "\n",
    "out_of_memory": "RuntimeError: CUDA out of memory\n",
    "out_of_memory.batch": HEADER + "CUDA out of memory\n",
    "out_of_memory.sizes": "CUDA out of memory. Tried to allocate 2.00 GiB. a total capacity of 8.00 GiB\n",
    "out_of_memory.shared": HEADER + crash(MEMORY.format(free="1.03", held="9.39")),
    "out_of_memory.logits": HEADER + crash(MEMORY.format(free="6.03", held="38.39"), TENSOR),
    "out_of_memory.main_memory": crash("RuntimeError: DefaultCPUAllocator: can't allocate memory"),
    "disk_full.checkpoint": crashed_while_saving(),
    "interrupted": iter_lines([4.0, 3.0]) + "slurmstepd: error: *** JOB 1 CANCELLED AT 2024 ***\n",
    "interrupted.killed": iter_lines([4.0, 3.0]) + "Killed\n",
    "interrupted.segfault": iter_lines([4.0, 3.0]) + "  traceback : Signal 11 (SIGSEGV) received by PID 7\n",
    "interrupted.ours": metrics(falling(4.2, 1.9, 15), end="SIGINT"),
    "finished.ours": metrics(falling(4.2, 1.9, 15), end="finished"),
    "finished.said": run_log(Run(iters=[IterPoint(1, 4.0)], ending=Ending(reason="finished"))),
    "finished.planned": planned(),
    "finished.probably": eval_lines(GOOD_EVALS) + iter_line(1000, 1.6) + "\n",
    "truncated.between_evals": eval_lines([(4, 4), (3, 3), (2, 2)]) + iter_line(510, 2.0) + "\n",
    "loss_spike.recovered": iter_lines(falling(10.9, 3.6, 60) + [6.5] + [3.6] * 10),
    "checkpoint_overwritten_worse.nonfinite": saved_after_each([*GOOD_EVALS, (nan, nan)]),
    "bad_initial_loss.overcome": modded([16.0, 5.0, 4.0, 3.6, 3.4]),
    "resumed": HEADER + iter_lines([4.0, 3.0]) + "Resuming training from out\n" + iter_lines([3.0], start=10),
    "slow_first_iterations.with_eval": with_evaluations(5.0, 5.0).replace("900", "9000", 1),
    "eval_time_spike": "\n".join(with_evaluations(None, None).splitlines()[1:6]),
    "eval_time_spike.costly": with_evaluations(None, None),
    "eval_time_spike.mfu_costly": with_evaluations(10.0, 9.06),
    "time_drift.sudden": timed([100.0] * 50 + [160.0] * 50),
    "time_stall.periodic": timed([5000.0 if i % 10 == 5 else 100.0 for i in range(100)]),
    "mfu_reference_device.unknown_device": iter_lines([4.0]).replace("5.00%", "0.03%"),
    "mfu_impossible.faster_device": "".join(iter_line(10 * i, 4.0, mfu=140.0) + "\n" for i in range(10)),
    "low_mfu": metrics(falling(4.2, 1.9, 15), device="NVIDIA H100", n_params=124_000_000).replace(
        '"mfu": 0.25', '"mfu": 0.04'),
}  # fmt: skip

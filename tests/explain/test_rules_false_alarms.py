"""Healthy runs of every length, noise and evaluation interval: not one of them may be called a problem."""

import math
import random

import pytest

from nanogpt_cli.explain.records import EvalPoint, IterPoint, Log, Run
from tests.explain.samples import explain_text, run_log


def healthy_run(seed: int) -> Log:
    """A run with nanoGPT's habits whose loss falls as a power of the iterations, as losses do."""
    draw = random.Random(seed)
    vocab, floor = (65, draw.uniform(1.45, 1.9)) if seed % 2 else (50304, draw.uniform(2.9, 4.2))
    n_iters, every = draw.choice([1000, 2000, 5000, 20000]), 10
    interval = every * max(2, n_iters // draw.choice([6, 10, 20, 50]) // every)
    half_life, power = n_iters / draw.uniform(15, 60), draw.uniform(0.9, 1.3)
    batch_noise, eval_noise = draw.uniform(0.02, 0.15), draw.choice([0.003, 0.006, 0.012, 0.02])
    gap, usual_ms = draw.uniform(0, 0.4 if vocab == 65 else 0.03), draw.uniform(20, 3000)

    def loss(i: int) -> float:
        return floor + (math.log(vocab) - floor) / (1 + (i / half_life) ** power)

    rate = 1e-3 if vocab == 65 else 6e-4
    run = Run(trainer="nanogpt", header_seen=True, vocab_size=vocab, process_starts=[0])
    run.n_params = 1e7 if vocab == 65 else 1.24e8
    run.config = {"max_iters": n_iters, "lr_decay_iters": n_iters, "learning_rate": rate,
                  "min_lr": rate / 10, "warmup_iters": 100, "log_interval": every}  # fmt: skip
    for i in range(0, n_iters + 1, every):
        ms = usual_ms * (1 + abs(draw.gauss(0, 0.02))) + (20_000 if i == 0 else 0)
        if i % interval == 0:
            ms += 20 * usual_ms
            train = loss(i) - gap * min(1, 1.5 * i / n_iters) + draw.gauss(0, eval_noise)
            run.evals.append(EvalPoint(i, train, loss(i) + draw.gauss(0, eval_noise)))
            run.checkpoints += [i] if i else []
        run.iters.append(IterPoint(i, loss(i) + draw.gauss(0, batch_noise), ms, 0.2))
    return run_log(run)


@pytest.mark.parametrize("seed", range(40))
def test_a_healthy_run_is_called_healthy(seed: int) -> None:
    explanation = explain_text(healthy_run(seed))
    assert explanation.codes[0] == "healthy"
    assert {finding.severity for finding in explanation.findings} == {"info"}

"""No run whatever makes a rule fail, and everything found can be said."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_cli.explain.records import EvalPoint, Failure, IterPoint, Run
from nanogpt_cli.explain.report import explain
from tests.explain.samples import run_log

LOSSES = st.one_of(
    st.floats(0.0, 20.0),
    st.sampled_from([0.0, -1.0, 1e-300, 1e300, math.nan, math.inf, -math.inf]),
)
MAYBE = st.one_of(st.none(), st.floats(0.0, 1e5), st.sampled_from([math.nan, math.inf, 0.0, -1.0, 1e308]))
SETTINGS = st.dictionaries(
    st.sampled_from(
        ["max_iters", "warmup_iters", "lr_decay_iters", "learning_rate", "min_lr", "eval_iters", "batch_size",
         "gradient_accumulation_steps", "log_interval", "eval_interval", "dataset", "device", "decay_lr"]
    ),
    st.one_of(st.integers(-1, 3000), st.floats(), st.booleans(), st.sampled_from(["cpu", "x_char"])),
)  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any run a reader might hand over: iterations grow, everything else is as it comes."""
    run = Run(
        trainer=draw(st.sampled_from(["nanogpt", "ours", "nanochat", "modded-nanogpt", "mingpt", "unknown"])),
        nanogpt_habits=draw(st.booleans()),
        val_unit=draw(st.sampled_from(["nats", "bpb"])),
        header_seen=draw(st.booleans()),
        pretrained=draw(st.booleans()),
        config=draw(SETTINGS),
        vocab_size=draw(st.sampled_from([None, 0, 1, 2, 65, 50304, 10**9])),
        n_params=draw(st.sampled_from([None, 0.0, 1.0, 8e5, 1.2e8])),
        tokens_per_iter=draw(st.sampled_from([None, 0, 768, 491_520])),
        train_tokens=draw(st.sampled_from([None, 0, 10**6])),
        epochs_seen=draw(MAYBE),
        wall_seconds=draw(MAYBE),
    )
    step = draw(st.integers(1, 500))
    # Repeated and trending stretches reach the rules that need many points.
    losses = draw(st.lists(LOSSES, max_size=12)) * draw(st.sampled_from([1, 1, 5, 20]))
    loss = draw(st.one_of(st.none(), st.floats(0.1, 12)))
    for i, value in enumerate(losses):
        run.iters.append(
            IterPoint(
                i * step,
                value if loss is None else loss / (1 + i),
                draw(MAYBE) if i < 12 else 50.0,
                draw(MAYBE) if i < 3 else 0.1,
                lr=draw(MAYBE) if i < 3 else None,
                grad_norm=draw(MAYBE) if i < 3 else 1.0,
            )
        )
    for i, value in enumerate(draw(st.lists(LOSSES, max_size=12))):
        run.evals.append(EvalPoint(i * 10 * step, draw(st.one_of(st.none(), LOSSES)), value))
    run.checkpoints = [e.iter_num for e in run.evals if draw(st.booleans())]
    run.process_starts = [p.iter_num for p in run.iters[:1]]
    if draw(st.booleans()):
        run.failures.append(
            Failure(exception=draw(st.text()), message=draw(st.text()), location=draw(st.text()))
        )
    return run


@given(runs())
@settings(max_examples=80, deadline=None)
def test_any_run_can_be_explained(run: Run) -> None:
    explanation = explain(run_log(run))
    assert explanation.summary
    for finding in explanation.findings:
        assert finding.message
        assert 0 <= finding.confidence <= 1
    assert len(set(explanation.codes)) == len(explanation.codes)

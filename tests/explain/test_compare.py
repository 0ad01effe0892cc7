"""Runs side by side: what differs, who is better at equal cost, and what must not be compared."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.explain.compare import Comparison, compare, comparison_document
from nanogpt_cli.explain.progress import along, first_at_most, seconds, value_at
from nanogpt_cli.explain.report import explain
from nanogpt_cli.explain.show.comparison import cautions, fact_rows, group_charts, sentences, standing_rows
from nanogpt_cli.explain.show.comparison_markdown import comparison_markdown
from tests.explain.samples import RUN, eval_lines, falling, iter_line, iter_lines, metrics, parse_text

FAST = [(4.2, 4.2), (2.0, 2.1), (1.6, 1.8), (1.5, 1.7)]
SLOW = [(4.2, 4.2), (2.5, 2.6), (2.0, 2.1), (1.8, 2.0), (1.6, 1.8), (1.5, 1.7)]


def comparison(**texts: str) -> Comparison:
    logs = {name: parse_text(text) for name, text in texts.items()}
    for name, log in logs.items():
        log.source = f"out/{name}/metrics.jsonl"
    return compare([explain(log) for log in logs.values()])


def winners(found: Comparison) -> dict[str, str | None]:
    """axis → the winner's name, of the only group."""
    (group,) = found.groups
    names = [found.entries[i].name for i in group.members]
    return {s.axis: None if s.winner is None else names[s.winner] for s in group.standings}


# --- who is better


def test_at_equal_iterations_the_common_evaluation_decides() -> None:
    found = comparison(fast=eval_lines(FAST), slow=eval_lines(SLOW))
    (group,) = found.groups
    at = next(standing for standing in group.standings if standing.axis == "iterations")
    assert (at.x, at.losses) == (750, (1.7, 2.0))
    assert winners(found) == {"best": None, "iterations": "fast"}, "both end at 1.7"
    assert group.reached["iterations"] == (750, 1250)


def test_at_equal_tokens_and_time_another_may_win() -> None:
    """Twice the batch: better after as many iterations, worse for as many tokens and as much time."""
    small = metrics(falling(4.2, 1.9, 100), tokens_per_iter=768)
    big = metrics(falling(4.2, 1.8, 100), tokens_per_iter=4 * 768).replace(
        '"step_ms": 40.0', '"step_ms": 160.0'
    )
    found = comparison(small=small, big=big)
    assert winners(found) == {"best": "big", "iterations": "big", "tokens": "small", "seconds": "small"}


def test_another_seed_is_no_winner() -> None:
    noise = random.Random(7)
    for _ in range(20):
        last = 1.9 + noise.uniform(-0.004, 0.004)
        found = comparison(a=eval_lines([(4.2, 4.2), (2.0, 1.9)]), b=eval_lines([(4.2, 4.2), (2.0, last)]))
        assert winners(found) == {"best": None, "iterations": None}
        assert all("too close to call" in sentence for sentence in sentences(found, found.groups[0]))


def test_evaluations_at_other_iterations_are_interpolated() -> None:
    found = comparison(
        a=eval_lines([(4, 4), (3, 3), (2, 2)], interval=100), b=eval_lines([(4, 4), (3, 3)], interval=130)
    )
    at = next(standing for standing in found.groups[0].standings if standing.axis == "iterations")
    assert at.x == 130
    assert at.losses == pytest.approx((2.7, 3.0))


def test_without_validation_the_smoothed_training_losses_are_compared() -> None:
    noise = random.Random(3)

    def noisy(last: float) -> str:
        return iter_lines([loss + noise.gauss(0, 0.2) for loss in falling(4.2, last, 500)], interval=1)

    lines = {
        name: noisy(last)
        for name, last in (("good", 1.5), ("bad", 2.0))
    }  # fmt: skip
    found = comparison(**lines)
    assert found.groups[0].metric == "train"
    assert winners(found) == {"best": "good", "iterations": "good", "seconds": "good"}


def test_every_run_of_many_is_in_the_tables() -> None:
    texts = {f"run{i}": eval_lines([(4.2, 4.2), (2.0, 2.0 + i / 10)]) for i in range(5)}
    found = comparison(**texts)
    assert winners(found) == {"best": "run0", "iterations": "run0"}
    assert all(len(row.cells) == 5 for row in [*fact_rows(found), *standing_rows(found, found.groups[0])])


# --- what must not be compared

NANOCHAT = "".join(
    f"step {i:05d}/00100 ({i:.2f}%) | loss: {4 - i / 50:.6f} | lrm: 1.00 | dt: 50.00ms | tok/sec: 1,000\n"
    + (f"Step {i:05d} | Validation bpb: {1.5 - i / 200:.4f}\n" if i % 20 == 0 else "")
    for i in range(100)
)


def test_bits_per_byte_are_not_compared_with_nats() -> None:
    found = comparison(nanochat=NANOCHAT, gpt=eval_lines(FAST))
    assert found.groups == ()
    assert found.alone == (0, 1)
    assert "units" in found.cautions


def test_vocabularies_are_put_apart_and_gpt2s_two_sizes_are_one() -> None:
    run = {**RUN, "config": {}}
    texts = {
        f"v{vocab}": metrics(falling(4.2, 1.9, 15), **{**run, "vocab_size": vocab})
        for vocab in (65, 50257, 50304)
    }
    found = comparison(**texts)
    assert [group.members for group in found.groups] == [(1, 2)]
    assert found.alone == (0,)
    assert found.cautions == ("vocabularies",)
    assert "v65" in cautions(found)[-1]


def test_an_untold_vocabulary_is_told_by_the_first_loss() -> None:
    """GPT-2's 10.99 beside characters' 4.24: lower, and it means nothing."""
    gpt2 = [(10.99, 10.99), (4.0, 4.0), (3.2, 3.2)]
    found = comparison(gpt2=eval_lines(gpt2), chars=eval_lines(FAST), more=eval_lines(SLOW))
    assert [group.members for group in found.groups] == [(1, 2)]
    assert found.alone == (0,)


def test_other_datasets_are_a_caution() -> None:
    texts = {name: metrics(falling(4.2, 1.9, 15), config={"dataset": f"data/{name}"}) for name in ("a", "b")}
    assert comparison(**texts).cautions == ("datasets",)


def test_a_log_without_training_stands_alone() -> None:
    found = comparison(good=eval_lines(FAST), empty="", also=eval_lines(SLOW))
    assert found.alone == (1,)
    assert [group.members for group in found.groups] == [(0, 2)]


# --- settings


def test_only_what_differs_and_only_what_is_known() -> None:
    config = {"learning_rate": 1e-3, "dropout": 0.0, "out_dir": "a", "n_layer": 4, "compile": True}
    changed = {**config, "learning_rate": 0.002, "dropout": 0, "out_dir": "b", "compile": False, "seed": 1}
    found = comparison(a=metrics([4.0], config=config), b=metrics([4.0], config=changed))
    assert found.differences == {"compile": (True, False), "learning_rate": (0.001, 0.002)}


def test_runs_are_named_after_their_folders() -> None:
    logs = [parse_text(eval_lines(FAST)) for _ in range(3)]
    for log, source in zip(logs, ("out/a/metrics.jsonl", "out/b/train.log", "logs/c.txt"), strict=True):
        log.source = source
    assert [entry.name for entry in compare([explain(log) for log in logs]).entries] == ["a", "b", "c.txt"]
    for log, folder in zip(logs, ("x", "y", "y"), strict=True):
        log.source = f"{folder}/log.txt"
    names = [entry.name for entry in compare([explain(log) for log in logs]).entries]
    assert len(set(names)) == 3


# --- the clock


def test_a_spike_is_counted_once() -> None:
    """Every hundredth iteration is logged; an evaluation inside one of them was one."""
    text = "".join(iter_line(i, 3.0, ms=100.0) + "\n" for i in range(0, 900, 100))
    text += "step 900: train loss 2.0, val loss 2.1\n" + iter_line(900, 3.0, ms=10_100.0) + "\n"
    log = parse_text(text)
    clock = seconds(log, log.runs[-1])
    assert clock[0] == (0, 0.1)
    assert clock[-1][1] == pytest.approx(90.0 + 10.1, abs=0.2)


def test_our_times_are_means_and_evaluations_are_added() -> None:
    text = metrics(falling(4.2, 1.9, 11))
    log = parse_text(text.replace('"best": true', '"best": true, "eval_ms": 500.0'))
    assert seconds(log, log.runs[-1])[-1][1] == pytest.approx(100 * 0.040 + 3 * 0.5, abs=0.1)


def test_no_times_no_clock() -> None:
    log = parse_text(eval_lines(FAST))
    assert seconds(log, log.runs[-1]) == ()
    assert along(log, log.runs[-1], [(0, 1.0)], "tokens") == ()


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=30), st.floats(0, 1))
def test_values_between_points_lie_between_their_losses(values: list[float], share: float) -> None:
    points = [(float(x), y) for x, y in enumerate(values)]
    y = value_at(points, share * (len(values) - 1))
    assert y is not None
    assert min(values) - 1e-9 <= y <= max(values) + 1e-9
    assert value_at(points, -1) is None
    assert value_at(points, len(values)) is None


def test_where_a_loss_is_first_reached() -> None:
    points = [(0.0, 4.0), (100.0, 2.0), (200.0, 3.0), (300.0, 1.0)]
    assert first_at_most(points, 3.0) == 50.0
    assert first_at_most(points, 1.5) == 275.0
    assert first_at_most(points, 0.5) is None
    assert first_at_most([(0.0, float("nan")), (10.0, 1.0)], 2.0) == 10.0


# --- what is shown


def test_the_document() -> None:
    found = comparison(fast=metrics(falling(4.2, 1.8, 40)), slow=metrics(falling(4.2, 2.4, 40)))
    document = comparison_document(found)
    json.dumps(document, allow_nan=False)
    assert list(document) == ["schema_version", "runs", "differences", "groups", "alone", "cautions"]
    (group,) = document["groups"]  # type: ignore[misc, unused-ignore]
    assert group["runs"] == ["fast", "slow"]
    assert {standing["winner"] for standing in group["standings"]} == {"fast"}


def test_curves_over_every_axis_that_all_runs_know() -> None:
    found = comparison(a=metrics(falling(4.2, 1.8, 40)), b=metrics(falling(4.2, 2.4, 40)))
    names = [chart.name for chart, _ in group_charts(found, found.groups[0])]
    assert names == ["loss_by_iterations", "loss_by_tokens", "loss_by_seconds"]
    only = comparison(a=metrics(falling(4.2, 1.8, 40)), b=eval_lines(FAST))
    assert [chart.name for chart, _ in group_charts(only, only.groups[0])] == ["loss_by_iterations"]


def test_markdown_tables() -> None:
    text = comparison_markdown(comparison(fast=eval_lines(FAST), slow=eval_lines(SLOW)))
    assert "|  | fast | slow |\n| --- | ---: | ---: |\n" in text
    assert "| after 750 iterations | **1.7000** | 2.0000 |" in text

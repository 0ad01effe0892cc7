"""Thinning, ticks, the curves of a run, and their drawing in a terminal."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.show.axis import linear_ticks, log_ticks, tick_text
from nanogpt_cli.explain.show.plot import ascii_plot, legend, terminal_plot
from nanogpt_cli.explain.show.series import Chart, Curve, charts
from nanogpt_cli.explain.show.thin import Point, medians, thin
from tests.explain.samples import FIXTURES, eval_lines, explain_text, falling, iter_line, iter_lines, metrics
from tests.explain.test_rules import FIRES

WORDS = load_catalogue()
POINTS = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), min_size=1, max_size=400
).map(lambda values: [(float(x), y) for x, y in enumerate(values)])  # fmt: skip


def chart_of(text: str, name: str = "loss") -> Chart:
    return next(chart for chart in charts(explain_text(text)) if chart.name == name)


# --- thinning


@given(POINTS, st.integers(1, 40))
def test_thinned_points_keep_the_ends_the_extremes_and_the_order(points: list[Point], columns: int) -> None:
    thinned = thin(points, columns)
    assert len(thinned) <= max(4 * columns, 5 * columns)
    assert all(point in points for point in thinned)
    assert [x for x, _ in thinned] == sorted({x for x, _ in thinned})
    finite = [y for _, y in points if math.isfinite(y)]
    if finite:
        kept = [y for _, y in thinned if math.isfinite(y)]
        assert (min(kept), max(kept)) == (min(finite), max(finite))
    assert any(math.isnan(y) for _, y in thinned) == any(math.isnan(y) for _, y in points)


def test_one_spike_among_a_hundred_thousand_points_stays() -> None:
    points = [(float(x), 3.0) for x in range(100_000)]
    points[77_777] = (77_777.0, 9.0)
    assert (77_777.0, 9.0) in thin(points, 100)
    assert max(y for _, y in medians(points, 100)) == 3.0, "the trend does not see it"


def test_the_trend_of_noise_is_its_middle() -> None:
    noise = random.Random(1)
    points = [(float(x), 2.0 + noise.gauss(0, 0.3)) for x in range(10_000)]
    assert all(abs(y - 2.0) < 0.1 for _, y in medians(points, 50))


# --- axes


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(2, 12))
def test_linear_ticks_lie_inside_and_are_few(low: float, span: float, wanted: int) -> None:
    ticks = linear_ticks(low, low + span, wanted)
    assert len(ticks) <= wanted + 2
    assert all(low - 1e-6 * span <= tick <= low + span * 1.000001 for tick in ticks)


def test_ticks_are_round() -> None:
    assert linear_ticks(0, 5000, 5) == [0, 1000, 2000, 3000, 4000, 5000]
    assert [round(tick, 6) for tick in linear_ticks(1.42, 1.71, 6)] == [1.45, 1.5, 1.55, 1.6, 1.65, 1.7]
    assert log_ticks(30, 4500, 6) == [50, 100, 200, 500, 1000, 2000]
    assert log_ticks(30, 45_000, 4) == [100, 1000, 10_000]
    assert log_ticks(1, 10, 6) == [1, 2, 5, 10]


@pytest.mark.parametrize(
    ("value", "step", "largest", "text"),
    [
        (0, 1, None, "0"),
        (2000, 1000, 5000, "2,000"),
        (5000, 5000, 10_000, "5k"),
        (600_000, 200_000, 600_000, "600k"),
        (2.5e9, 5e8, 1e11, "2.5G"),
        (0.25, 0.05, 1, "0.25"),
        (6e-4, 2e-4, 1e-3, "6e-4"),
        (6e-5, 6e-5, None, "6e-5"),
        (4446.8, 1000, 5000, "4,447"),
        (1e300, 1e300, None, "1e300"),
    ],
)
def test_tick_texts(value: float, step: float, largest: float | None, text: str) -> None:
    assert tick_text(WORDS, value, step, largest) == text


# --- curves and marks


def test_the_curves_of_a_nanogpt_log() -> None:
    loss = chart_of((FIXTURES / "shakespeare_cpu.log").read_text())
    assert [curve.name for curve in loss.curves] == ["train_iter", "train_eval", "val_eval"]
    assert [len(curve.points) for curve in loss.curves] == [17, 3, 3]
    best = [mark for mark in loss.marks if mark.number == 0]
    assert [(mark.x, mark.y) for mark in best] == [(16, 3.2105)]


def test_charts_of_our_record() -> None:
    names = [chart.name for chart in charts(explain_text(metrics(falling(4.2, 1.9, 15), end="finished")))]
    assert names == ["loss", "time", "mfu", "lr", "grad_norm"]


def test_bits_per_byte_never_share_an_axis_with_nats() -> None:
    lines = [
        f"step {i:05d}/00100 ({i:.2f}%) | loss: {4 - i / 50:.6f} | lrm: 1.00 | dt: 50.00ms | tok/sec: 1,000"
        + (f"\nStep {i:05d} | Validation bpb: {1.5 - i / 200:.4f}" if i % 20 == 0 else "")
        for i in range(100)
    ]
    explanation = explain_text("\n".join(lines) + "\n")
    assert explanation.run.val_unit == "bpb"
    by_name = {chart.name: chart for chart in charts(explanation)}
    assert [curve.name for curve in by_name["loss"].curves] == ["train_iter"]
    assert [curve.name for curve in by_name["val_bpb"].curves] == ["val_eval"]
    assert [mark.number for mark in by_name["val_bpb"].marks] == [0]


def test_a_finding_is_marked_where_it_is_seen_and_remarks_on_the_whole_are_not() -> None:
    explanation = explain_text(FIRES["overfitting"])
    number = 1 + explanation.codes.index("overfitting")
    loss = next(chart for chart in charts(explanation) if chart.name == "loss")
    assert number in {mark.number for mark in loss.marks}
    healthy = explain_text(iter_lines(falling(4.2, 1.5, 60)))
    assert "healthy" in healthy.codes
    assert [mark for chart in charts(healthy) for mark in chart.marks] == []


def test_nonfinite_losses_break_the_line() -> None:
    loss = chart_of(
        "iter 0: loss 4.0\niter 10: loss 3.0\niter 20: loss nan\niter 30: loss inf\niter 40: loss 3.5\n"
    )
    assert [math.isnan(y) for _, y in loss.curves[0].points] == [False, False, True, True, False]


@pytest.mark.parametrize("text", ["", "iter 0: loss 4.0\n", "iter 0: loss nan\niter 1: loss nan\n"])
def test_too_little_for_a_curve(text: str) -> None:
    assert charts(explain_text(text)) == ()


def test_a_steep_start_does_not_flatten_the_rest() -> None:
    """GPT-2's 10.9 → 3.1 on a linear axis left four fifths of the picture empty."""
    loss = chart_of(iter_lines([10.9, 9.0, 6.0, *falling(4.0, 3.1, 400)]))
    assert 4.0 < loss.top < 6.0
    assert any("10.90" in str(entry) for entry in legend(loss, WORDS, {}))
    spiked = chart_of(iter_lines([*falling(4.0, 3.1, 200), 9.5, *falling(3.2, 3.1, 100)]))
    assert spiked.top == 9.5, "what comes later is never cut off"


def test_logarithmic_only_where_a_linear_axis_shows_nothing() -> None:
    times = "\n".join(iter_line(i, 3.0, ms=4000.0 if i % 25 == 0 else 33.0) for i in range(100))
    assert chart_of(times + "\n", "time").log_scale
    assert not chart_of(eval_lines([(4.2, 4.2), (1.5, 1.6), (0.6, 1.7)])).log_scale


# --- the drawing


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
@pytest.mark.parametrize("height", [6, 16])
def test_the_drawing_keeps_its_size(width: int, height: int) -> None:
    for chart in charts(explain_text(metrics(falling(4.2, 1.9, 300), end="finished"))):
        lines = terminal_plot(chart, WORDS, width, height, color=False)
        assert len(lines) == height + 2
        assert all(len(line) <= width for line in lines)
        assert "\x1b" not in "".join(lines)


def test_the_curve_falls_from_the_left_above_to_the_right_below() -> None:
    lines = terminal_plot(chart_of(iter_lines(falling(4.0, 1.0, 200))), WORDS, 60, 12, color=False)
    rows = [line.split("│")[-1].split("┤")[-1] for line in lines[:12]]
    filled = [{x for x, cell in enumerate(row) if cell not in " \u2800"} for row in rows]
    assert min(filled[0]) == 0
    assert max(filled[-1]) == max(map(max, filter(None, filled)))
    assert max(filled[0]) < min(filled[-1])


def test_evaluations_carry_letters_and_the_best_a_star() -> None:
    chart = chart_of(eval_lines([(4.2, 4.2), (2.0, 2.2), (1.5, 1.9), (1.2, 2.0)]))
    drawn = "".join(terminal_plot(chart, WORDS, 60, 12, color=False))
    assert drawn.count("★") == 1
    assert "x" in drawn
    assert "o" in drawn
    assert [str(entry)[0] for entry in legend(chart, WORDS, {1: "Title"})][:3] == ["x", "o", "★"]


def test_color_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    chart = chart_of(iter_lines(falling(4.0, 1.0, 50)))
    assert "\x1b[" in "".join(terminal_plot(chart, WORDS, 60, 12, color=True))
    assert "\x1b[" not in "".join(terminal_plot(chart, WORDS, 60, 12, color=False))


def test_ascii_for_streams_that_know_no_more() -> None:
    chart = chart_of(eval_lines([(4.2, 4.2), (2.0, 2.2), (1.5, 1.9)]))
    lines = ascii_plot(terminal_plot(chart, WORDS, 60, 12, color=False))
    assert "".join(lines).isascii()
    assert "*" in "".join(lines)


def test_runs_are_told_apart_by_letters() -> None:
    curves = tuple(
        Curve(name, ((0.0, 4.0), (10.0, 3.0 - i)), role=i, dotted=True) for i, name in enumerate("ab")
    )
    entries = legend(Chart("loss_by_iterations", curves), WORDS, {}, ["a", "b"])
    assert [str(entry) for entry in entries] == ["· a", "x b"]

"""Long runs are thinned while reading; what a diagnosis looks for stays."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.explain import thinning
from nanogpt_cli.explain.records import IterPoint
from nanogpt_cli.explain.thinning import Thinned
from tests.explain.samples import parse_text

LOSSES = st.floats(0, 20) | st.sampled_from([math.nan, math.inf])


def thinned(limit: int = 64) -> Thinned[IterPoint]:
    return Thinned[IterPoint]([], lambda p: p.loss, lambda p: p.time_ms, limit)


@given(st.lists(st.tuples(LOSSES, st.floats(1, 1000)), min_size=1, max_size=2000))
def test_first_last_best_worst_slowest_stay(pairs: list[tuple[float, float]]) -> None:
    points = [IterPoint(i, loss, time) for i, (loss, time) in enumerate(pairs)]
    kept = thinned()
    for point in points:
        kept.append(point)
    kept.flush()
    got = kept.points
    assert len(got) <= 64 + 5
    assert [p.iter_num for p in got] == sorted({p.iter_num for p in got})
    assert (got[0].iter_num, got[-1].iter_num) == (0, len(points) - 1)
    finite = [p.loss for p in points if p.loss is not None and math.isfinite(p.loss)]
    kept_finite = [p.loss for p in got if p.loss is not None and math.isfinite(p.loss)]
    if finite:
        assert min(kept_finite) == min(finite)
    broken = [p.iter_num for p in points if p.loss is not None and not math.isfinite(p.loss)]
    if broken:
        assert next(p.iter_num for p in got if not math.isfinite(p.loss or 0)) == broken[0]
    elif finite:
        assert max(kept_finite) == max(finite)
    assert max(p.time_ms or 0 for p in got) == max(time for _, time in pairs)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.integers(0, 1000))
def test_many_at_once_keeps_the_same_extremes(stretches: list[int], seed: int) -> None:
    kept, total = thinned(), sum(stretches)
    losses = [float((i * 7919 + seed) % 1009) for i in range(total)]
    times = [float((i * 104_729 + seed) % 997) for i in range(total)]
    start = 0
    for length in stretches:

        def point(i: int, start: int = start) -> IterPoint:
            return IterPoint(start + i, losses[start + i], times[start + i])

        kept.extend(losses[start : start + length], times[start : start + length], point)
        start += length
    kept.flush()
    got = kept.points
    assert len(got) <= 64 + 5
    assert [p.iter_num for p in got] == sorted({p.iter_num for p in got})
    assert {got[0].iter_num, got[-1].iter_num} == {0, total - 1}
    assert min(p.loss or 0 for p in got) == min(losses)
    assert max(p.loss or 0 for p in got) == max(losses)
    assert max(p.time_ms or 0 for p in got) == max(times)


def test_a_long_log_keeps_its_counts_and_its_worst(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(thinning, "LIMIT", 1000)
    lines = [f"iter {i}: loss {3 + 1 / (i + 1):.4f}, time 50.00ms, mfu 10.00%" for i in range(20_000)]
    lines[12_345] = "iter 12345: loss 9.8765, time 50.00ms, mfu 10.00%"
    lines[15_000] = "iter 15000: loss 3.0001, time 9999.00ms, mfu 1.00%"
    run = parse_text("\n".join(lines) + "\n").runs[0]
    assert run.n_iter_lines == 20_000
    assert (run.iters[0].iter_num, run.iters[-1].iter_num) == (0, 19_999)
    assert {12_345, 15_000} <= {p.iter_num for p in run.iters}

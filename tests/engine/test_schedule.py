"""The learning rate at every kind of iteration."""

import dataclasses
import math

import pytest

from nanogpt_cli.engine.schedule import learning_rate
from tests.engine.tiny import tiny_config

CONFIG = tiny_config(learning_rate=1e-3, min_lr=1e-4, warmup_iters=100, lr_decay_iters=2000)


@pytest.mark.parametrize(
    ("iter_num", "expected"),
    [
        pytest.param(0, 1e-3 / 101, id="first"),
        pytest.param(49, 1e-3 * 50 / 101, id="half-way-up"),
        pytest.param(99, 1e-3 * 100 / 101, id="last-of-warm-up"),
        pytest.param(100, 1e-3, id="full-rate"),
        pytest.param(1050, (1e-3 + 1e-4) / 2, id="half-way-down"),
        pytest.param(100 + 1900 // 4, 1e-4 + 0.5 * (1 + math.sqrt(0.5)) * 9e-4, id="a-quarter-down"),
        pytest.param(2000, 1e-4, id="end"),
        pytest.param(2001, 1e-4, id="just-beyond"),
        pytest.param(10**9, 1e-4, id="far-beyond"),
    ],
)
def test_closed_form(iter_num: int, expected: float) -> None:
    assert learning_rate(iter_num, CONFIG) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("warmup_iters", [0, 1, 7])
def test_equals_nanogpts_formula(warmup_iters: int) -> None:
    """Its published rule: linear while it < warmup_iters, min_lr when it > lr_decay_iters, else cosine."""
    config = tiny_config(learning_rate=6e-4, min_lr=6e-5, warmup_iters=warmup_iters, lr_decay_iters=40)

    def nanogpts(it: int) -> float:
        if it < warmup_iters:
            return 6e-4 * (it + 1) / (warmup_iters + 1)
        if it > 40:
            return 6e-5
        ratio = (it - warmup_iters) / (40 - warmup_iters)
        return 6e-5 + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (6e-4 - 6e-5)

    for it in range(60):
        assert learning_rate(it, config) == pytest.approx(nanogpts(it), rel=1e-12), it


def test_without_warm_up_the_first_rate_is_the_full_one() -> None:
    assert learning_rate(0, tiny_config(learning_rate=0.5, warmup_iters=0)) == 0.5


def test_without_decay_the_rate_is_constant() -> None:
    config = tiny_config(decay_lr=False, learning_rate=0.25, warmup_iters=10, lr_decay_iters=20)
    assert {learning_rate(it, config) for it in (0, 5, 10, 15, 20, 99)} == {0.25}


@pytest.mark.parametrize("lr_decay_iters", [0, 5, 10])
def test_a_decay_that_ends_inside_the_warm_up_drops_to_min_lr(lr_decay_iters: int) -> None:
    """nanoGPT divides by zero or takes the cosine of a negative share here."""
    config = tiny_config(learning_rate=1e-2, min_lr=1e-3, warmup_iters=10, lr_decay_iters=lr_decay_iters)
    assert learning_rate(9, config) == pytest.approx(1e-2 * 10 / 11)
    assert [learning_rate(it, config) for it in (10, 11, 500)] == [1e-3] * 3


@pytest.mark.parametrize(
    ("schedule", "iter_num", "expected"),
    [
        pytest.param("linear", 100, 1e-3, id="linear-top"),
        pytest.param("linear", 1050, (1e-3 + 1e-4) / 2, id="linear-half"),
        pytest.param("linear", 2000, 1e-4, id="linear-end"),
        pytest.param("wsd", 1599, 1e-3, id="wsd-stable"),
        pytest.param("wsd", 1600, 1e-3, id="wsd-still-full"),
        pytest.param("wsd", 1800, (1e-3 + 1e-4) / 2, id="wsd-half-down"),
        pytest.param("wsd", 2001, 1e-4, id="wsd-end"),
        pytest.param("constant", 99, 1e-3 * 100 / 101, id="constant-warms-up"),
        pytest.param("constant", 10**9, 1e-3, id="constant-for-ever"),
    ],
)
def test_other_shapes(schedule: str, iter_num: int, expected: float) -> None:
    config = dataclasses.replace(CONFIG, lr_schedule=schedule)
    assert learning_rate(iter_num, config) == pytest.approx(expected, rel=1e-12)


def test_a_cooldown_longer_than_what_follows_the_warm_up_begins_with_it() -> None:
    config = dataclasses.replace(CONFIG, lr_schedule="wsd", cooldown_fraction=1.0)
    linear = dataclasses.replace(CONFIG, lr_schedule="linear")
    for iter_num in range(0, 2100, 7):
        assert learning_rate(iter_num, config) == pytest.approx(learning_rate(iter_num, linear), rel=1e-12)


def test_no_cooldown_drops_at_the_end() -> None:
    config = dataclasses.replace(CONFIG, lr_schedule="wsd", cooldown_fraction=0.0)
    assert learning_rate(1999, config) == 1e-3
    assert learning_rate(2000, config) == 1e-4

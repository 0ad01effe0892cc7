"""Batches depend on (seed, index) alone, in either order of the data."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.batches import Batches, check_length
from nanogpt_cli.errors import NanoGPTError

TOKENS = np.arange(1000, dtype=np.uint16)  # each id is its own position
BATCHES = Batches(tokens=TOKENS, block_size=8, seed=1337)
ORDERS = ["random", "shuffle"]


def with_(**changes: Any) -> Batches:
    return dataclasses.replace(BATCHES, **changes)


# --- Both orders


@pytest.mark.parametrize("order", ORDERS)
def test_a_batch_does_not_depend_on_what_was_drawn_before(order: str) -> None:
    """50 batches of 4 windows pass the border of an epoch of 123 windows."""
    batches = with_(order=order)
    in_order = [batches.batch(index, 4)[0] for index in range(50)]
    for index in (31, 0, 49, 3, 3):
        assert np.array_equal(with_(order=order).batch(index, 4)[0], in_order[index])


@pytest.mark.parametrize("order", ORDERS)
def test_batches_of_different_iterations_differ(order: str) -> None:
    drawn = {with_(order=order).starts(index, 4).tobytes() for index in range(200)}
    assert len(drawn) == 200  # equal by chance: 200² / 2 / 123⁴ < 1e-4, and the seed is fixed


@pytest.mark.parametrize("order", ORDERS)
@given(
    seed=st.integers(0, 2**31 - 1),
    index=st.integers(0, 10**6),
    batch_size=st.integers(1, 4),
    world_size=st.integers(1, 4),
    micro_batches=st.integers(1, 3),
)
def test_the_ranks_rows_make_up_the_same_global_batch(
    order: str, seed: int, index: int, batch_size: int, world_size: int, micro_batches: int
) -> None:
    batches = with_(seed=seed, order=order)
    size = batch_size * world_size * micro_batches
    inputs, targets = batches.batch(index, size)
    for rank in range(world_size):
        for micro in range(micro_batches):  # as the trainer asks for them
            rows = slice(first := (rank * micro_batches + micro) * batch_size, first + batch_size)
            part_inputs, part_targets = batches.batch(index, size, rows)
            assert np.array_equal(part_inputs, inputs[rows])
            assert np.array_equal(part_targets, targets[rows])


@pytest.mark.parametrize("order", ORDERS)
def test_targets_are_one_token_ahead(order: str) -> None:
    inputs, targets = with_(order=order).batch(0, 16)
    assert inputs.shape == targets.shape == (16, 8)
    assert inputs.dtype == targets.dtype == np.int64
    assert np.array_equal(targets, inputs + 1)
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("order", ORDERS)
def test_the_shortest_split_has_one_window(order: str) -> None:
    inputs, targets = with_(tokens=TOKENS[:9], order=order).batch(5, 3)
    assert inputs.tolist() == [list(range(8))] * 3
    assert targets.tolist() == [list(range(1, 9))] * 3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", [0, 1338])
def test_another_seed_draws_other_windows(order: str, seed: int) -> None:
    other = with_(seed=seed, order=order).starts(0, 8)
    assert not np.array_equal(other, with_(order=order).starts(0, 8))  # odds of equality below 123⁻⁸


@pytest.mark.parametrize("order", ORDERS)
@given(n_tokens=st.integers(9, 200), index=st.integers(0, 1000), size=st.integers(1, 9))
def test_no_window_leaves_the_split(order: str, n_tokens: int, index: int, size: int) -> None:
    starts = with_(tokens=TOKENS[:n_tokens], order=order).starts(index, size)
    assert int(starts.min()) >= 0
    assert int(starts.max()) + 8 < n_tokens  # the last target is still a token


def test_ids_beyond_a_signed_16_bit_integer_survive() -> None:
    inputs, _ = with_(tokens=np.full(50, 65_535, dtype=np.uint16)).batch(0, 2)
    assert set(inputs.ravel().tolist()) == {65_535}


# --- random


def test_the_first_and_the_last_window_are_reachable() -> None:
    """4 windows of 12 tokens; that one is missing in 200 draws has odds of 4 · 0.75²⁰⁰ < 1e-24."""
    inputs, targets = with_(tokens=TOKENS[:12]).batch(0, 200)
    assert set(inputs[:, 0].tolist()) == {0, 1, 2, 3}
    assert int(targets.max()) == 11  # the last token of the split is predicted


def test_random_windows_are_drawn_uniformly() -> None:
    """χ² of 100 cells over 100,000 draws: mean 99, deviation 14; beyond 99 + 6 · 14 by chance: under 1e-6."""
    batches = with_(tokens=TOKENS[:108])
    starts = np.concatenate([batches.starts(index, 100) for index in range(1000)])
    counts = np.bincount(starts, minlength=100)
    assert len(counts) == 100
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 99 + 6 * 14.1


# --- shuffle


def test_an_epoch_sees_every_window_once_and_the_next_in_another_order() -> None:
    """124 windows of 8 fit into 1000 tokens and one target; one of them is given up for the shift."""
    batches = with_(order="shuffle")
    starts = np.concatenate([batches.starts(index, 3) for index in range(2 * 41)])  # 2 epochs of 3 · 41
    first, second = starts[:123], starts[123:]
    for epoch in (first, second):
        assert np.array_equal(np.sort(epoch), epoch.min() + 8 * np.arange(123))
    assert not np.array_equal(np.argsort(first), np.argsort(second))


def test_the_borders_of_the_windows_move_from_epoch_to_epoch() -> None:
    """All 8 offsets occur in 200 epochs; that one is missing has odds of 8 · (7/8)²⁰⁰ < 1e-10."""
    batches = with_(tokens=TOKENS[:50], order="shuffle")
    n_windows = (50 - 1) // 8 - 1
    offsets = {int(batches.starts(epoch, n_windows).min()) for epoch in range(200)}
    assert offsets == set(range(8))


def test_a_batch_larger_than_an_epoch_holds_several() -> None:
    starts = with_(tokens=TOKENS[:50], order="shuffle").starts(0, 15)  # 5 windows an epoch
    for epoch in range(3):
        part = starts[5 * epoch : 5 * epoch + 5]
        assert len(set(part.tolist())) == 5


# --- Evaluation


@given(n_tokens=st.integers(9, 1000), size=st.integers(1, 8), n_batches=st.integers(1, 8))
def test_even_batches_lie_at_equal_distances(n_tokens: int, size: int, n_batches: int) -> None:
    batches = with_(tokens=TOKENS[:n_tokens])
    rows = [batches.even_batch(index, size, n_batches)[0][:, 0] for index in range(n_batches)]
    starts = np.sort(np.concatenate(rows))
    step = (n_tokens - 8) / (size * n_batches)
    assert len(starts) == size * n_batches
    assert np.all(np.abs(starts - (np.arange(len(starts)) + 0.5) * step) <= 1)
    assert int(starts.max()) + 8 < n_tokens


def test_every_even_batch_spans_the_split_and_no_seed_changes_it() -> None:
    for index in range(5):
        inputs, targets = BATCHES.even_batch(index, 10, 5)
        assert np.array_equal(targets, inputs + 1)
        assert inputs[0, 0] < 100 < 900 < inputs[-1, 0]
        assert np.array_equal(with_(seed=3, order="shuffle").even_batch(index, 10, 5)[0], inputs)


# --- Too short


@pytest.mark.parametrize(("split", "advice"), [("train", "a longer text"), ("val", "--val-fraction")])
def test_a_split_shorter_than_one_window_is_an_error(split: str, advice: str) -> None:
    check_length(split, 9, 8)
    with pytest.raises(NanoGPTError, match=f"the {split} split has 8 tokens, but block_size = 8") as caught:
        check_length(split, 8, 8)
    assert "--block-size 7" in caught.value.hint
    assert advice in caught.value.hint

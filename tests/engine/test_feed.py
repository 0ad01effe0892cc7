"""Every feed gives the batches of `Batches`, bit for bit, whatever is asked for in which order."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.token_files import TokenFile, open_token_files
from nanogpt_cli.engine import feed as module
from nanogpt_cli.engine.feed import Feed, HostFeed, Portion, PrefetchFeed, ResidentFeed
from tests.engine.tiny import CPU, assert_same_tensors, build_trainer, snapshot, tiny_config

FEEDS: dict[str, Callable[..., Feed]] = {"host": HostFeed, "resident": ResidentFeed, "ahead": PrefetchFeed}
TOP = {np.uint16: 65_535, np.uint32: 4_294_967_295}


def text(dtype: Any, count: int = 700) -> np.ndarray:
    """Ids up to the largest of the type: what a signed type would take for negative is among them."""
    return np.random.Generator(np.random.PCG64(1)).integers(0, TOP[dtype], count, dtype, endpoint=True)


def portion(**changes: Any) -> Portion:
    batches = Batches(tokens=text(np.uint16), block_size=8, seed=5, order="shuffle")
    return dataclasses.replace(Portion(batches=batches, batch_size=3, micro_batches=2), **changes)


@pytest.fixture(params=FEEDS)
def open_feed(request: pytest.FixtureRequest) -> Iterator[Callable[[Portion], Feed]]:
    opened: list[Feed] = []

    def make(part: Portion) -> Feed:
        opened.append(FEEDS[request.param](part, CPU))
        return opened[-1]

    yield make
    for feed in opened:
        feed.close()


def assert_right(feed: Feed, part: Portion, iter_num: int) -> None:
    size = part.rows * part.world_size
    given = feed.micro_batches(iter_num)
    assert len(given) == part.micro_batches
    for micro, (inputs, targets) in enumerate(given):
        first = part.rank * part.rows + micro * part.batch_size
        expected = part.batches.batch(iter_num, size, slice(first, first + part.batch_size))
        for tensor, array in zip((inputs, targets), expected, strict=True):
            assert tensor.dtype == torch.int64
            assert tensor.is_contiguous()
            assert np.array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("order", ["random", "shuffle"])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_all_iterations_across_the_border_of_an_epoch(
    open_feed: Callable[[Portion], Feed], dtype: Any, order: Any
) -> None:
    part = portion(batches=Batches(tokens=text(dtype), block_size=8, seed=5, order=order))
    feed = open_feed(part)
    for iter_num in range(40):  # an epoch is 86 windows, an iteration 6
        assert_right(feed, part, iter_num)


def test_a_run_may_begin_anywhere_and_go_back(open_feed: Callable[[Portion], Feed]) -> None:
    feed = open_feed(portion())
    for iter_num in (17, 18, 3, 4, 4, 100, 99):
        assert_right(feed, portion(), iter_num)


def test_ranks_read_their_own_rows(open_feed: Callable[[Portion], Feed]) -> None:
    for rank in range(3):
        part = portion(rank=rank, world_size=3)
        feed = open_feed(part)
        for iter_num in range(3):
            assert_right(feed, part, iter_num)


def test_a_large_iteration_is_not_read_ahead_of_its_time() -> None:
    assert portion().ahead() == 16
    assert portion(batch_size=module._AHEAD_TOKENS // 16).ahead() == 1
    assert portion(batch_size=10 * module._AHEAD_TOKENS).ahead() == 1


def test_a_text_of_many_files_is_copied_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = text(np.uint16)
    parts = []
    for number, piece in enumerate(np.array_split(whole, 3)):
        piece.astype("<u2").tofile(tmp_path / f"{number}.bin")
        parts.append(TokenFile(path=tmp_path / f"{number}.bin", tokens=len(piece)))
    monkeypatch.setattr(module, "_COPIED_AT_ONCE", 100)
    ids, mask = module.resident(open_token_files(parts, np.dtype("<u2")), CPU)
    assert ids.dtype == torch.int16
    assert module.widened(ids, mask).tolist() == whole.tolist()


class Broken:
    """A disk that fails from some iteration on."""

    def __init__(self) -> None:
        self.tokens = text(np.uint16)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        if not isinstance(index, slice):
            self.reads += 1
            if self.reads > 2:
                raise OSError("Input/output error")
        return self.tokens[index]


def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_wanted() -> None:
    feed = PrefetchFeed(portion(batches=Batches(tokens=Broken(), block_size=8, seed=5)), CPU)
    try:
        feed.micro_batches(0)
        feed.micro_batches(1)
        with pytest.raises(OSError, match="Input/output error"):
            feed.micro_batches(2)
    finally:
        feed.close()


def test_the_end_of_a_run_ends_the_thread(tmp_path: Path) -> None:
    expected = build_trainer(tmp_path / "a", tiny_config(gradient_accumulation_steps=2))
    expected.run()
    trainer = build_trainer(tmp_path / "b", tiny_config(gradient_accumulation_steps=2))
    trainer.feed = PrefetchFeed(
        Portion(batches=trainer.batches.train, batch_size=4, micro_batches=2), trainer.hardware.device
    )
    before = {thread.name for thread in threading.enumerate()}
    trainer.run()
    assert {thread.name for thread in threading.enumerate() if "batches" in thread.name} == set()
    assert not any("batches" in name for name in before)
    assert_same_tensors(snapshot(trainer), snapshot(expected))


@pytest.mark.parametrize(
    ("free", "kind"), [(8 * 1400, ResidentFeed), (8 * 1400 - 8, PrefetchFeed), (None, PrefetchFeed)]
)
def test_a_gpu_holds_the_text_where_it_takes_little_of_it(
    free: int | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,400 bytes of text, an eighth of the memory at most; the feeds themselves are not opened here."""
    for name in ("ResidentFeed", "PrefetchFeed"):
        monkeypatch.setattr(module, name, lambda *_args, name=name: name)
    monkeypatch.setattr(module, "available_memory", lambda _device: free)
    assert module.feed_for(portion(), torch.device("cuda", 0)) == kind.__name__
    assert isinstance(module.feed_for(portion(), CPU), HostFeed)

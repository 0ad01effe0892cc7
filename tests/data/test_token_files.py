"""Many files read as one array: every index gives what one file would, with a bounded number open."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data import token_files
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.token_files import ShardedTokens, TokenFile, open_token_files

WHOLE = (np.arange(500) * 131 % 65_536).astype("<u2")


def shards(folder: Path, sizes: list[int], header_bytes: int = 0) -> list[TokenFile]:
    """The beginning of WHOLE, cut into files."""
    parts, begin = [], 0
    for number, size in enumerate(sizes):
        path = folder / f"{header_bytes}-{number}-{begin}-{size}.bin"
        path.write_bytes(b"\xff" * header_bytes + WHOLE[begin : begin + size].tobytes())
        parts.append(TokenFile(path=path, tokens=size, header_bytes=header_bytes))
        begin += size
    return parts


SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=10)


@given(sizes=SIZES, data=st.data(), header_bytes=st.sampled_from([0, 1024]))
def test_any_index_gives_what_one_array_gives(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject, header_bytes: int
) -> None:
    tokens = ShardedTokens(
        shards(tmp_path_factory.mktemp("shards"), sizes, header_bytes), np.dtype("<u2"), open_files=2
    )
    whole = WHOLE[: sum(sizes)]
    assert len(tokens) == len(whole)
    position = st.integers(0, len(whole) - 1)
    index = np.array(data.draw(st.lists(st.lists(position, min_size=3, max_size=3), max_size=9)), dtype=int)
    assert np.array_equal(tokens[index], whole[index])
    bound = st.none() | st.integers(-len(whole) - 2, len(whole) + 2)
    run = slice(data.draw(bound), data.draw(bound))
    assert np.array_equal(tokens[run], whole[run])
    assert tokens[run].dtype == whole.dtype


@pytest.mark.parametrize("order", ["random", "shuffle"])
def test_batches_of_shards_are_those_of_one_file(tmp_path: Path, order: str) -> None:
    """Windows of 16 over files of 30 and fewer tokens: many cross a border, some cross three."""
    sizes = [30, 1, 2, 17, 30, 5, 5, 5, 30, 30]
    one = Batches(tokens=WHOLE[: sum(sizes)], block_size=16, seed=3, order=order)  # type: ignore[arg-type]
    many = Batches(
        tokens=open_token_files(shards(tmp_path, sizes), np.dtype("<u2")),
        block_size=16,
        seed=3,
        order=order,  # type: ignore[arg-type]
    )
    for index in range(30):
        for ours, theirs in zip(many.batch(index, 8), one.batch(index, 8), strict=True):
            assert np.array_equal(ours, theirs)
            assert ours.dtype == np.int64
    assert np.array_equal(many.even_batch(0, 20, 1)[1], one.even_batch(0, 20, 1)[1])


def test_positions_outside_are_an_error(tmp_path: Path) -> None:
    tokens = ShardedTokens(shards(tmp_path, [3, 4]), np.dtype("<u2"))
    for position in (-1, 7):
        with pytest.raises(IndexError, match="0 … 6"):
            tokens[np.array([[0, position]])]


def test_one_file_is_a_plain_memory_map(tmp_path: Path) -> None:
    tokens = open_token_files(shards(tmp_path, [40], header_bytes=1024), np.dtype("<u2"))
    assert isinstance(tokens, np.memmap)
    assert not tokens.flags.writeable
    assert np.array_equal(tokens, WHOLE[:40])


def test_only_so_many_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand shards would use up the process's file descriptors."""
    opened: list[Path] = []
    real = token_files.open_tokens

    def counting(path: Path, *rest: object, **options: object) -> np.ndarray:
        opened.append(path)
        return real(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(token_files, "open_tokens", counting)
    parts = shards(tmp_path, [2] * 20)
    tokens = ShardedTokens(parts, np.dtype("<u2"), open_files=4)
    assert opened == []
    tokens[np.array([0, 1, 2, 39])]
    tokens[np.array([0, 38])]
    assert [parts.index(part) for part in parts if part.path in opened] == [0, 1, 19]
    assert len(opened) == 3
    assert np.array_equal(tokens[:], WHOLE[:40])
    assert tokens._opened.cache_info().currsize == 4
    assert np.array_equal(tokens[:], WHOLE[:40])

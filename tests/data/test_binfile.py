"""Files of token ids: the type changes at 65,536 ids, and a damaged file is told from a whole one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from nanogpt_cli.data import binfile
from nanogpt_cli.data.binfile import BinWriter, count_tokens, dtype_for, open_tokens, scan
from nanogpt_cli.errors import NanoGPTError
from tests.data.conftest import Recorder


def test_dtype_boundary() -> None:
    assert dtype_for(1) == dtype_for(65_536) == np.dtype("<u2")
    assert dtype_for(65_537) == dtype_for(200_019) == np.dtype("<u4")


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_bytes_on_disk_are_little_endian(tmp_path: Path, vocab_size: int, width: int) -> None:
    path = tmp_path / "train.bin"
    ids = [0, 1, 258, vocab_size - 1]
    with BinWriter(path, dtype_for(vocab_size)) as out:
        for part, dtype in ((ids[:2], np.uint16), ([], np.uint16), (ids[2:], np.int64)):
            stored = out.as_stored(np.array(part, dtype=dtype))
            out.see(stored)
            out.write(stored)
    raw = b"".join(i.to_bytes(width, "little") for i in ids)
    assert path.read_bytes() == raw
    assert out.tokens == 4
    assert out.sha256 == hashlib.sha256(raw).hexdigest()
    tokens = open_tokens(path, dtype_for(vocab_size))
    assert tokens.tolist() == ids
    assert not tokens.flags.writeable


def test_a_writer_refuses_ids_that_do_not_fit(tmp_path: Path) -> None:
    with (
        BinWriter(tmp_path / "a.bin", dtype_for(256)) as out,
        pytest.raises(AssertionError, match="do not fit"),
    ):
        out.as_stored(np.array([65_536]))


@pytest.mark.parametrize(
    ("size", "expected", "message"),
    [
        (7, None, r"a.bin is damaged: 7 bytes are not a whole number of 2-byte token ids"),
        (6, 4, r"a.bin is truncated: it has 3 of 4 tokens"),
        (10, 4, r"a.bin has 5 tokens where meta.json says 4"),
        (0, None, r"a.bin is empty"),
    ],
)
def test_broken_sizes(tmp_path: Path, size: int, expected: int | None, message: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(NanoGPTError, match=message) as caught:
        count_tokens(path, np.dtype("<u2"), expected=expected, hint="do this")
    assert caught.value.hint == "do this"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NanoGPTError, match=r"a\.bin is missing"):
        count_tokens(tmp_path / "a.bin", np.dtype("<u2"), expected=None, hint="h")


def test_scan_reads_every_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    monkeypatch.setattr(binfile, "_SCAN_BYTES", 8)
    path = tmp_path / "a.bin"
    ids = np.array([5, 900, 2, 3, 800, 0, 7], dtype="<u2")
    ids.tofile(path)
    found = scan(path, np.dtype("<u2"), recorder)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.max_id == 900
    assert [event.done for event in recorder.progress] == [8, 14]

"""A sharded model's tensors on disk: a safetensors file per rank, by torch.distributed.checkpoint (DCP).

Format: that of DCP's `HuggingFaceStorageWriter`. Each file holds pieces of tensors and, in the header's
metadata, `DCP_SHARDING_INFO`: JSON that gives where in the whole tensor every piece begins. Nothing is
pickled, so that reading a checkpoint runs no code; DCP's usual format has a pickled index.
Reading needs neither a process group nor a recent PyTorch. https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nanogpt_cli.files import sha256_file

_OFFSETS: Final = "DCP_SHARDING_INFO"
_RANK_FILES: Final = "shard-{rank:05d}-*.safetensors"  # DCP counts ranks from 1


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file this rank has written, by its name under the checkpoint's folder."""

    name: str
    n_bytes: int
    sha256: str


def write_shards(tensors: dict[str, Tensor], folder: Path, rank: int) -> list[WrittenFile]:
    """Write this rank's pieces of `tensors` into `folder`; all ranks call it together, with the same names.

    Files are fsynced. Raises OSError on every rank where one of them cannot write.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as failed:  # what every rank raises when any has failed
        broken, (error, _) = sorted(failed.failures.items())[0]
        if isinstance(error, OSError | SafetensorError):
            raise OSError(f"process {broken}: {error}") from error
        raise RuntimeError(f"process {broken} could not save its part: {error!r}") from error
    return [
        WrittenFile(name=f"{folder.name}/{path.name}", n_bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.glob(_RANK_FILES.format(rank=rank + 1)))
    ]


class ShardFolder:
    """Whole tensors out of the pieces in a folder; ValueError where the pieces do not make a whole."""

    def __init__(self, folder: Path) -> None:
        self._pieces: dict[str, list[tuple[Path, list[int]]]] = {}  # name → files, and where each begins
        for path in sorted(folder.glob("*.safetensors")):
            with _opened(path) as file:
                offsets = _offsets(path, file.metadata())
                for name in file.keys():  # noqa: SIM118  (not a dict)
                    self._pieces.setdefault(name, []).append((path, offsets[name]))

    def names(self) -> Iterator[str]:
        """The tensors' names."""
        return iter(self._pieces)

    def tensor(self, name: str) -> Tensor:
        """One whole tensor, on the CPU."""
        parts: list[tuple[list[int], Tensor]] = []
        for path, begin in self._pieces[name]:
            with _opened(path) as file:
                parts.append((begin, file.get_tensor(name)))
        parts.sort(key=lambda part: part[0])
        if parts[0][1].dim() == 0:
            return parts[0][1]
        # Ranks divide rows: each piece begins where the one before it ends, and is as wide.
        row, wide = 0, parts[0][1].shape[1:]
        for begin, part in parts:
            if begin != [row, *[0] * len(wide)] or part.shape[1:] != wide:
                raise ValueError(f"{name} has pieces missing")
            row += len(part)
        return torch.cat([part for _, part in parts])


def _offsets(path: Path, metadata: dict[str, str] | None) -> dict[str, list[int]]:
    try:
        told = json.loads((metadata or {})[_OFFSETS])
        return {name: [int(n) for n in entry["saved_offsets"]] for name, entry in told.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} does not say where its pieces belong") from error


def _opened(path: Path) -> Any:
    return safe_open(path, framework="pt")

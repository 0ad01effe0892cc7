"""Which strategy is taken, and tensors put together from the parts that ranks have written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.shard_files import ShardFolder
from nanogpt_cli.engine.sharded import blocks_of, choose_strategy, local, placed_like
from nanogpt_cli.engine.start import model_shape
from tests.engine.tiny import tiny_config

GIB = 2**30


def piece(folder: Path, number: int, tensor: torch.Tensor, begin: list[int]) -> None:
    """One rank's file, with a piece of the tensor "w"."""
    told = json.dumps({"w": {"saved_offsets": begin}})
    path = folder / f"shard-{number:05d}-model-00001-of-00001.safetensors"
    save_file({"w": tensor.contiguous()}, path, metadata={"DCP_SHARDING_INFO": told})


def test_parts_of_any_height_make_a_whole(tmp_path: Path) -> None:
    whole = torch.arange(15.0).view(5, 3)
    for number, (begin, end) in enumerate([(2, 4), (4, 5), (0, 2)]):
        piece(tmp_path, number, whole[begin:end], [begin, 0])
    shards = ShardFolder(tmp_path)
    assert list(shards.names()) == ["w"]
    assert torch.equal(shards.tensor("w"), whole)


@pytest.mark.parametrize("begins", [(0, 4), (1, 3), (0, 1), (0, -2)])
def test_a_part_that_is_missing_is_an_error(tmp_path: Path, begins: tuple[int, int]) -> None:
    for number, begin in enumerate(begins):
        piece(tmp_path, number, torch.zeros(2, 3), [begin, 0])
    with pytest.raises(ValueError, match="w has pieces missing"):
        ShardFolder(tmp_path).tensor("w")


@pytest.mark.parametrize("metadata", [None, {"DCP_SHARDING_INFO": "[]"}, {"DCP_SHARDING_INFO": "{"}])
def test_a_file_that_does_not_say_where_it_belongs_is_an_error(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "shard-1.safetensors", metadata=metadata)
    with pytest.raises(ValueError):  # noqa: PT011  (also JSON's own)
        ShardFolder(tmp_path)


@pytest.mark.parametrize(
    ("strategy", "world_size", "n_params", "device_bytes", "chosen"),
    [
        ("auto", 1, 10**12, 80 * GIB, "single"),
        ("fsdp", 1, 10**6, None, "single"),
        ("auto", 8, 124_000_000, 80 * GIB, "ddp"),
        ("auto", 8, 2_000_000_000, 40 * GIB, "fsdp"),  # 16 bytes each: 30 of 40 GiB
        ("auto", 8, 2_000_000_000, 80 * GIB, "ddp"),
        ("auto", 8, 2_000_000_000, None, "ddp"),  # processors of one machine share its memory
        ("ddp", 8, 2_000_000_000, 40 * GIB, "ddp"),
        ("fsdp", 2, 10**6, None, "fsdp"),
    ],
)
def test_weights_are_divided_where_asked_or_needed(
    strategy: str, world_size: int, n_params: int, device_bytes: int | None, chosen: str
) -> None:
    found, why = choose_strategy(
        tiny_config(strategy=strategy), world_size=world_size, n_params=n_params, device_bytes=device_bytes
    )
    assert found == chosen
    assert why


@pytest.mark.parametrize(("arch", "ngram_order"), [("gpt2", 0), ("nanochat", 0), ("nanochat", 4)])
def test_an_architecture_names_its_blocks(arch: str, ngram_order: int) -> None:
    """Bug: they were taken to be the one list of modules, but n-gram tables are a list too."""
    config = tiny_config(arch=arch, n_layer=3, ngram_order=ngram_order)
    model = new_model(model_shape(config, 13))
    blocks = blocks_of(model)
    assert len(blocks) == 3
    assert sum(p.numel() for p in blocks[0].parameters()) > 12 * config.n_embd**2 - 1


def test_what_is_not_divided_stays_itself() -> None:
    tensor = torch.arange(4.0)
    assert local(tensor) is tensor
    copied = placed_like(tensor, torch.zeros(4))
    assert torch.equal(copied, tensor)
    assert copied.data_ptr() != tensor.data_ptr()

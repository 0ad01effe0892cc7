"""What is offered when memory has run out: only what fits, cheapest first; and a real failed allocation."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.memory import estimate_memory
from nanogpt_cli.engine.out_of_memory import (
    Attempt,
    Offer,
    cheapest_changes,
    in_words,
    largest_below,
    micro_batches,
    out_of_memory,
)
from tests.engine.tiny import cpu_hardware, tiny_config
from tests.helpers import run_cli


def made_up(config: TrainConfig) -> int:
    """1000 bytes a layer and per 16 of width; 10 a token, 6 in bfloat16."""
    weights = 1000 * config.n_layer * config.n_embd // 16
    if config.strategy == "fsdp":
        weights //= 2
    return weights + (6 if config.dtype == "bfloat16" else 10) * config.batch_size * config.block_size


CONFIG = tiny_config(batch_size=64, block_size=32, gradient_accumulation_steps=4, n_layer=4)  # 24,480 bytes


def offers(limit: float, **changes: Any) -> list[Offer]:
    options = {"world_size": 1, "bfloat16": False, "fixed_shape": False, **changes}
    return cheapest_changes(CONFIG, made_up, limit=limit, **options)


def test_the_same_training_in_smaller_pieces_comes_first() -> None:
    assert [offer.flags for offer in offers(15_000)] == [
        "--batch-size 32 --gradient-accumulation-steps 8",
        "--block-size 16 --gradient-accumulation-steps 8",
    ]


def test_each_offer_fits_and_none_is_in_force_already() -> None:
    for limit in range(1_000, 24_000, 500):
        for offer in offers(limit, world_size=2, bfloat16=True):
            assert made_up(offer.config) == offer.n_bytes <= limit
            assert offer.config != CONFIG
            assert offer.flags
            tokens = offer.config.batch_size * offer.config.block_size
            assert tokens * offer.config.gradient_accumulation_steps == 64 * 32 * 4
            assert offer.config.gradient_accumulation_steps % 2 == 0


def test_bfloat16_is_offered_only_where_it_would_be_new() -> None:
    assert [offer.flags for offer in offers(17_000, bfloat16=True)][1] == "--dtype bfloat16"
    assert not any("bfloat16" in offer.flags for offer in offers(17_000))


def test_several_processes_can_divide_the_weights() -> None:
    assert any(offer.flags == "--strategy fsdp" for offer in offers(23_000, world_size=2))
    assert not any("fsdp" in offer.flags for offer in offers(23_000))


def test_a_model_with_given_weights_keeps_its_shape() -> None:
    assert [offer.flags for offer in offers(15_000, fixed_shape=True)] == [
        "--batch-size 32 --gradient-accumulation-steps 8"
    ]


def test_where_one_sequence_is_too_much_the_model_shrinks() -> None:
    """The layers alone take 4,000 bytes."""
    found = offers(3_000)
    assert all(offer.config.n_layer < 4 or offer.config.n_embd < 16 for offer in found)
    assert found[0].config.n_layer == 2
    assert offers(100) == []


@pytest.mark.parametrize("limit", [0, 1, 5, 6, 99, 100, 1000])
def test_the_largest_below_a_limit(limit: int) -> None:
    sizes = [1, 2, 5, 10, 100]
    expected = max((size for size in sizes if size <= limit), default=None)
    found = largest_below(limit, sizes, lambda size: size)
    assert (found[0] if found else None) == expected


def test_micro_batches_divide_a_ranks_share() -> None:
    assert micro_batches(48, 2) == [1, 2, 3, 4, 6, 8, 12, 24]


def test_the_message_has_this_runs_numbers(tmp_path: Path) -> None:
    config = tiny_config(batch_size=64, block_size=64)
    needed = estimate_memory(config, 13, cpu_hardware()).total_bytes
    attempt = Attempt(config=config, run_dir=tmp_path, vocab_size=13, hardware=cpu_hardware())
    error = out_of_memory(attempt)
    assert in_words(needed) in error.message
    assert "batch_size = 64 and block_size = 64" in error.message
    assert "are free" in error.message
    assert 1 <= len(error.details) <= 3
    assert error.details[0].startswith("--batch-size ")
    assert error.hint.startswith("the same command, and the first of these: --batch-size ")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a limit of the address space")
def test_a_real_allocation_that_fails_ends_in_advice() -> None:
    """The limit leaves about a gigabyte beside the libraries; a step of this run needs some six."""
    Path("input.txt").write_text("Being earnest is the fox's business. " * 400, encoding="utf-8")
    assert run_cli("prepare", "input.txt", "--tokenizer", "byte").code == 0
    script = (
        "import resource, sys, torch\n"
        "from nanogpt_cli.cli import app\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (3 << 29)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.exit(app.run(sys.argv[1:]))\n"
    )
    flags = ["--preset=cpu-tiny", "--device=cpu", "--dtype=float32", "--threads=1", "--compile=False"]
    flags += ["--batch_size=2048", "--block_size=256", "--eval_iters=1", "--max_iters=2", "--out-dir=out/run"]
    done = subprocess.run(
        [sys.executable, "-c", script, "train", *flags],
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: out of memory with batch_size = 2048 and block_size = 256" in done.stderr
    assert "  - --batch-size " in done.stderr
    *_, hint = done.stderr.splitlines()
    assert hint.startswith("hint: the same command, and the first of these: --batch-size ")

"""1, 2 and 4 processes, weights whole or divided, compute the same, and go on with each other's runs.

To float32's rounding, as sums are taken in another order: losses to 1e-5, weights after 8 iterations to 1e-4.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine.checkpoint import Checkpoint, list_checkpoints, read_checkpoint
from nanogpt_cli.errors import NanoGPTError
from tests.distributed.ranks import free_ports, job, run_jobs
from tests.engine.checkpoints import flip_last_byte
from tests.helpers import run_cli

pytestmark = [pytest.mark.distributed, pytest.mark.slow]
# 18 wide and 255 ids: nothing can be divided by 4, nor the 255 by 2.
FLAGS = (
    *("train", "--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--compile=False", "--threads=1"),
    *("--n_layer=3", "--n_head=3", "--n_embd=18", "--block_size=8", "--batch_size=3"),
    *("--gradient_accumulation_steps=8", "--max_iters=8", "--lr_decay_iters=8", "--warmup_iters=2"),
    *("--eval_interval=4", "--eval_iters=3", "--log_interval=1", "--learning_rate=0.01"),
)
# Each of world size, strategy, architecture and optimizer with each other one, if not all four together:
# tests/benchmarks/world_sizes.py does them all.
RUNS = [
    ("gpt2", "adamw", 2, "fsdp"),
    ("gpt2", "muon", 2, "ddp"),
    ("nanochat", "adamw", 4, "ddp"),
    ("nanochat", "muon", 4, "fsdp"),
]
KINDS = sorted({run[:2] for run in RUNS})
RESUME = ("train", "--resume", "--max_iters=8")


def name_of(arch: str, optimizer: str, world_size: int, strategy: str) -> str:
    return f"{arch}-{optimizer}-{world_size}-{strategy}"


def all_jobs() -> list[dict[str, Any]]:
    jobs = []
    for arch, optimizer, world, strategy in [*((*kind, 1, "auto") for kind in KINDS), *RUNS]:
        flags = (f"--arch={arch}", f"--optimizer={optimizer}", f"--strategy={strategy}")
        if (arch, optimizer) == ("nanochat", "muon"):
            flags += ("--ngram_order=3", "--ngram_rows=67")
        # A key's bias has no gradient but rounding errors, which Muon's AdamW, with its tiny eps, steps by.
        bias = arch == "gpt2" and optimizer == "adamw"
        jobs.append(job(name_of(arch, optimizer, world, strategy), world, *FLAGS, *flags, f"--bias={bias}"))
    half = (*FLAGS, "--max_iters=4", "--optimizer=muon")
    return [
        *jobs,
        job("half-fsdp", 2, *half, "--strategy=fsdp"),
        job("half-plain", 1, *half),
        job("fsdp-to-one", 1, *RESUME, "--strategy=fsdp", after="half-fsdp"),
        job("fsdp-to-ddp-4", 4, *RESUME, "--strategy=ddp", after="half-fsdp"),
        job("fsdp-to-fsdp-4", 4, *RESUME, after="half-fsdp"),
        job("plain-to-fsdp-2", 2, *RESUME, "--strategy=fsdp", after="half-plain"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs lie; what rank 0 said in each is in `<run>.txt`."""
    folder = tmp_path_factory.mktemp("runs")
    text = "El niño come pan. Où est la clé ? 你好，世界。 The end.\n" * 60
    (folder / "input.txt").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_cli("prepare", "input.txt", "--tokenizer", "bpe", "--vocab-size", "259").code == 0
    jobs = all_jobs()
    run_jobs(folder, jobs, free_ports(len(jobs)))
    return folder


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == kind]


def newest(run: Path) -> Checkpoint:
    return read_checkpoint(list_checkpoints(run)[-1])


def assert_same_run(run: Path, expected: Path) -> None:
    """Losses, gradient norms, evaluations and final weights, to the rounding named above."""
    left, right = records(run, "step"), records(expected, "step")
    assert [step["step"] for step in left] == list(range(8))
    assert [step["loss"] for step in left] == pytest.approx([step["loss"] for step in right], abs=1e-5)
    norms = [step["grad_norm"] for step in right]
    assert [step["grad_norm"] for step in left] == pytest.approx(norms, rel=1e-4)
    for key in ("train_loss", "val_loss"):
        told = [done[key] for done in records(expected, "eval")]
        assert [done[key] for done in records(run, "eval")] == pytest.approx(told, abs=1e-5)
    weights, wanted = newest(run).weights(), newest(expected).weights()
    assert weights.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(weights[name], wanted[name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize(("arch", "optimizer", "world_size", "strategy"), RUNS)
def test_several_processes_train_what_one_trains(
    folder: Path, arch: str, optimizer: str, world_size: int, strategy: str
) -> None:
    run = folder / name_of(arch, optimizer, world_size, strategy)
    assert_same_run(run, folder / name_of(arch, optimizer, 1, "auto"))
    (begun,) = records(run, "run")
    assert (begun["world_size"], begun["strategy"]) == (world_size, strategy)
    losses = [step["loss"] for step in records(run, "step")]
    assert losses[-1] < losses[0] - 0.2  # it learns: equal losses of a run that stands still would say little


@pytest.mark.parametrize("run", ["fsdp-to-one", "fsdp-to-ddp-4", "fsdp-to-fsdp-4", "plain-to-fsdp-2"])
def test_a_run_goes_on_with_another_number_of_processes_and_strategy(folder: Path, run: str) -> None:
    assert_same_run(folder / run, folder / name_of("gpt2", "muon", 1, "auto"))


def test_one_process_has_nothing_to_divide_and_says_so(folder: Path) -> None:
    said = (folder / "fsdp-to-one.txt").read_text(encoding="utf-8")
    assert "warning: strategy fsdp has nothing to divide: there is one process" in said


def test_a_sharded_checkpoint_has_a_part_of_every_rank_and_nothing_pickled(folder: Path) -> None:
    path = list_checkpoints(folder / name_of("nanochat", "muon", 4, "fsdp"))[-1]
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    shards = {f"shard-{rank:05d}-model-00001-of-00001.safetensors" for rank in range(1, 5)}
    expected = {f"{part}/{name}" for part in ("model", "optim") for name in shards}
    assert files == {*expected, "state.json", "COMPLETE"}
    marked = json.loads((path / "COMPLETE").read_text(encoding="utf-8"))["files"]
    assert marked.keys() == files - {"COMPLETE"}
    for name in files:
        with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, IndexError, KeyError)):
            pickle.loads((path / name).read_bytes())


def test_only_the_newest_and_the_best_are_kept(folder: Path) -> None:
    saved = [path.name for path in list_checkpoints(folder / name_of("gpt2", "adamw", 2, "fsdp"))]
    assert saved == ["iter_00000004", "iter_00000008"]


def test_a_damaged_part_is_found(folder: Path) -> None:
    path = list_checkpoints(folder / "half-fsdp")[-1]
    part = path / "optim" / "shard-00002-model-00001-of-00001.safetensors"
    flip_last_byte(part)
    with pytest.raises(NanoGPTError, match=r"optim/shard-00002.* is not what was saved"):
        read_checkpoint(path)
    flip_last_byte(part)


def test_a_sharded_run_is_evaluated_and_sampled_by_one_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    sharded, plain = (name_of("gpt2", "adamw", *kind) for kind in ((2, "fsdp"), (1, "auto")))
    documents = run_cli("eval", sharded, plain, "--json").json()
    left, right = documents if isinstance(documents, list) else documents["results"]
    assert left["loss"] == pytest.approx(right["loss"], abs=1e-5)
    flags = ("--max-new-tokens=8", "--seed=1", "--temperature=0.01", "--quiet")
    assert run_cli("sample", sharded, *flags).out == run_cli("sample", plain, *flags).out != ""

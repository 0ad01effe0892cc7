"""Events of a run as the reporters' tests hand them over."""

import math
from typing import Any

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.events import (
    CheckpointSaved,
    EvalDone,
    RunEnded,
    RunStarted,
    SampleDrawn,
    StepLogged,
)


def started(**changes: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "config": TrainConfig(max_iters=2000, n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12),
        "run_dir": "out/input-cpu-tiny",
        "resumed_from_iter": None,
        "device": "cpu (Some Processor With A Rather Long Name @ 2.00GHz, 2 threads)",
        "dtype": "bfloat16",
        "dtype_reason": "this CPU multiplies bfloat16 in hardware; weights stay float32",
        "compile": False,
        "compile_reason": "on cpu compiling takes longer than short runs save",
        "world_size": 1,
        "strategy": "single",
        "n_params": 795_904,
        "n_decay_tensors": 18,
        "n_decay_params": 802_944,
        "n_nodecay_tensors": 9,
        "n_nodecay_params": 1152,
        "fused_adamw": True,
        "tokens_per_iter": 768,
        "micro_batches": 1,
        "vocab_size": 65,
        "dataset_dir": "data/input",
        "vocab_source": "data/input/meta.json",
        "tokenizer": "char",
        "train_tokens": 1_003_854,
        "val_tokens": 111_540,
        "epochs": 1.53,
        "expected_first_loss": math.log(65),
        "flops_per_token": 5.17e6,
        "peak_flops": 2.5e11,
        "peak_source": "measured: bfloat16 matrix products of 1024 on this device",
    }
    return RunStarted(**{**fields, **changes})


def step(iter_num: int, **changes: Any) -> StepLogged:
    fields: dict[str, Any] = {
        "iter_num": iter_num,
        "loss": 3.12341,
        "lr": 1e-3,
        "grad_norm": 1.2345,
        "clipped": 0.5,
        "step_ms": 12.3449,
        "tokens_per_second": 62_215.0,
        "mfu": 0.05121,
        "eta_seconds": 93.0,
        "tokens_seen": 768 * (iter_num + 1),
        "epochs": 768 * (iter_num + 1) / 1_003_854,
    }
    return StepLogged(**{**fields, **changes})


def evaluated(iter_num: int, *, best: bool = True) -> EvalDone:
    return EvalDone(iter_num=iter_num, train_loss=1.9, val_loss=2.00004, lr=1e-3, best=best, eval_ms=2.0)


def drawn(iter_num: int, text: str = "First Citizen:\nBefore we proceed", **changes: Any) -> SampleDrawn:
    fields: dict[str, Any] = {"prompt": "\n", "tokens": 32, "sample_ms": 40.0}
    return SampleDrawn(iter_num=iter_num, text=text, **{**fields, **changes})


def saved(iter_num: int) -> CheckpointSaved:
    return CheckpointSaved(iter_num=iter_num, path="p", out_dir="out/run", best=True, save_ms=5.0)


def ended(**changes: Any) -> RunEnded:
    fields: dict[str, Any] = {
        "reason": "finished",
        "run_dir": "out/input-cpu-tiny",
        "iters": 2000,
        "final_train_loss": 1.7,
        "final_val_loss": 1.88574,
        "best_val_loss": 1.88574,
        "best_val_iter": 2000,
        "best_checkpoint": "out/input-cpu-tiny/checkpoints/iter_00002000",
        "tokens_seen": 1_536_000,
        "epochs": 1.5301,
        "median_ms_per_iter": 12.3,
        "ms_per_iter_p10": 11.84,
        "ms_per_iter_p90": 14.2,
        "tokens_per_second": 62_000.0,
        "mfu": 0.051,
        "peak_flops": 2.5e11,
        "peak_flops_source": "measured",
        "peak_memory_bytes": 412 * 2**20,
        "peak_reserved_bytes": None,
        "wall_seconds": 100.0,
    }
    return RunEnded(**{**fields, **changes})

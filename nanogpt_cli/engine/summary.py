"""What a run tells about itself: everything known before the first iteration, and the result at the end."""

import math

from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.engine.checkpoint import best_checkpoint
from nanogpt_cli.engine.optim import decay_groups, fused_available
from nanogpt_cli.engine.peak_memory import peak_memory
from nanogpt_cli.engine.sharded import is_sharded
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.events import RunEnded, RunStarted


def run_started(trainer: Trainer, dataset: Dataset, *, peak_source: str, resumed: bool) -> RunStarted:
    """The event that opens a run: what the panel above the table shows."""
    config, hardware, model, state = trainer.config, trainer.hardware, trainer.raw_model, trainer.state
    done = {"eval": state.last_eval_iter, "sample": state.last_sample_iter}
    decay, no_decay = decay_groups(model)
    tokens_per_iter = trainer.meter.tokens_per_iter
    train_tokens = dataset.splits["train"].tokens
    return RunStarted(
        config=config,
        run_dir=str(trainer.run_dir),
        resumed_from_iter=state.iter_num if resumed else None,
        resumed_with=tuple(name for name, at in done.items() if at == state.iter_num) if resumed else None,
        device=hardware.description,
        dtype=hardware.dtype_name,
        dtype_reason=hardware.dtype_reason,
        compile=hardware.compile,
        compile_reason=hardware.compile_reason,
        world_size=trainer.dist.world_size,
        strategy="fsdp" if is_sharded(model) else "ddp" if trainer.dist.world_size > 1 else "single",
        n_params=model.num_params(),
        n_decay_tensors=len(decay),
        n_decay_params=sum(p.numel() for p in decay),
        n_nodecay_tensors=len(no_decay),
        n_nodecay_params=sum(p.numel() for p in no_decay),
        fused_adamw=fused_available(hardware.device),
        tokens_per_iter=tokens_per_iter,
        micro_batches=trainer.micro_batches,
        vocab_size=model.config.vocab_size,
        dataset_dir=str(dataset.path),
        vocab_source=str(dataset.vocab_source) if dataset.vocab_source else None,
        tokenizer=dataset.tokenizer_name,
        train_tokens=train_tokens,
        val_tokens=dataset.splits["val"].tokens,
        epochs=config.max_iters * tokens_per_iter / train_tokens,
        expected_first_loss=math.log(model.config.vocab_size),
        flops_per_token=trainer.log.flops_per_token,
        peak_flops=trainer.log.peak_flops,
        peak_source=peak_source,
    )


def run_ended(trainer: Trainer, reason: str, *, peak_source: str, wall_seconds: float) -> RunEnded:
    """The event that closes a run, and the result of `train`."""
    state, median_ms = trainer.state, trainer.meter.median_ms()
    tokens_per_second = 1000 * trainer.meter.tokens_per_iter / median_ms if median_ms else None
    best = best_checkpoint(trainer.run_dir)
    memory = peak_memory(trainer.hardware.device)
    return RunEnded(
        reason=reason,
        saved=not trainer.config.eval_only,
        run_dir=str(trainer.run_dir),
        iters=state.iter_num,
        final_train_loss=state.train_loss
        if state.last_eval_iter == state.iter_num
        else trainer.log.last_loss,
        final_val_loss=state.val_loss if state.last_eval_iter == state.iter_num else None,
        best_val_loss=state.best_val_loss,
        best_val_iter=state.best_val_iter,
        best_checkpoint=str(best) if best else None,
        tokens_seen=state.tokens_seen,
        epochs=trainer.log.epochs(state.tokens_seen),
        median_ms_per_iter=median_ms,
        ms_per_iter_p10=trainer.meter.percentile_ms(10),
        ms_per_iter_p90=trainer.meter.percentile_ms(90),
        tokens_per_second=tokens_per_second,
        mfu=trainer.log.mfu(tokens_per_second) if tokens_per_second else None,
        peak_flops=trainer.log.peak_flops,
        peak_flops_source=peak_source,
        peak_memory_bytes=memory.used_bytes,
        peak_reserved_bytes=memory.reserved_bytes,
        wall_seconds=wall_seconds,
    )

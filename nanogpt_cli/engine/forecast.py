"""A dry run: everything a run would do, known before it does it. Nothing is trained that is kept or written.

The model's sizes are read from tensors without storage; its real weights are built only for the probe of the
time, and only where they fit into the memory that is free.
"""

from pathlib import Path
from typing import Final

import torch

from nanogpt_cli.config.load import LoadedConfig
from nanogpt_cli.config.schema import AUTO, TrainConfig
from nanogpt_cli.data.batches import Batches, check_length
from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.data.text_facts import text_facts
from nanogpt_cli.engine import flops, probe
from nanogpt_cli.engine.batch_size import choose_batch_size
from nanogpt_cli.engine.compiling import compile_model
from nanogpt_cli.engine.device import Hardware, choose_hardware
from nanogpt_cli.engine.distributed import from_environment, micro_batches_per_rank
from nanogpt_cli.engine.free_memory import available_memory
from nanogpt_cli.engine.memory import estimate_memory
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.registry import new_model, skeleton
from nanogpt_cli.engine.out_of_memory import is_out_of_memory
from nanogpt_cli.engine.schedule import learning_rate
from nanogpt_cli.engine.start import Start, model_shape, padded_vocab_size, starting_point
from nanogpt_cli.events import Reporter, RunForecast, Timing

# GPT-2's embedding, which is its head too, and nanochat's two.
_VOCAB_TABLES: Final = ("wte.weight", "embed_tokens.weight", "lm_head.weight")


def forecast(
    loaded: LoadedConfig,
    dataset: Dataset,
    run_dir: Path,
    *,
    resume: bool,
    n_processes: int = 1,
    reporter: Reporter,
) -> tuple[RunForecast, LoadedConfig]:
    """What `train` would begin with the same arguments, and the configuration with what weights decide.

    Raises what `train` would raise before its first iteration.
    """
    hardware = choose_hardware(loaded.config)
    world_size = max(from_environment().world_size, n_processes)
    start: Start | None = None
    if resume or loaded.config.init_from != "scratch":
        start, loaded = starting_point(loaded, dataset, run_dir, resume=resume, reporter=reporter)
    if loaded.config.batch_size == AUTO:
        rows = start.model.config.vocab_size if start else padded_vocab_size(dataset)
        loaded = choose_batch_size(loaded, rows, hardware, reporter, processes=world_size)
    micro_batches_per_rank(loaded.config.gradient_accumulation_steps, world_size)
    config = loaded.config
    for split in ("train", "val"):
        check_length(split, dataset.splits[split].tokens, config.block_size)
    shape = start.model.config if start else model_shape(config, padded_vocab_size(dataset))
    shapes = skeleton(shape)
    memory = estimate_memory(config, shape.vocab_size, hardware)
    on_cpu = hardware.device.type == "cpu"  # whose cores and memory several processes share
    available = available_memory(hardware.device)
    if available is not None and on_cpu:
        available //= world_size
    peak, peak_source = flops.peak_flops(hardware, remember=False)
    work = probe.Work(
        micro_batches=config.gradient_accumulation_steps,
        eval_batches=config.eval_iters,
        share=1.0 if on_cpu else 1 / world_size,
        flops_per_token=flops.model_flops_per_token(shapes),
        peak_flops=peak,
    )
    fits = available is None or memory.total_bytes < available
    timing = _timing(start, shape, dataset, config, hardware, work, reporter) if fits else None
    facts = text_facts(dataset, block_size=config.block_size, batch_size=config.batch_size, seed=config.seed)
    first_iter = start.state.iter_num if start and resume else 0
    matmul_flops = 6.0 * shapes.num_matmul_params()
    names = dict(shapes.named_parameters())
    made = RunForecast(
        run_dir=str(run_dir),
        resumed_from_iter=first_iter if resume else None,
        device_type=hardware.device.type,
        device=hardware.description,
        dtype=hardware.dtype_name,
        compile=hardware.compile,
        threads=torch.get_num_threads(),
        world_size=world_size,
        dataset_dir=str(dataset.path),
        tokenizer=dataset.tokenizer_name,
        vocab_size=shape.vocab_size,
        text_vocab_size=dataset.vocab_size,
        train_tokens=dataset.splits["train"].tokens,
        val_tokens=dataset.splits["val"].tokens,
        chars_per_token=facts.chars_per_token,
        words_per_token=facts.words_per_token,
        unigram_loss=facts.unigram_loss,
        batch_spread=facts.batch_spread,
        n_params=shapes.num_params(),
        n_params_total=sum(p.numel() for p in names.values()),
        n_block_params=sum(p.numel() for name, p in names.items() if ".0." in name),
        n_vocab_params=sum(p.numel() for name, p in names.items() if name.endswith(_VOCAB_TABLES)),
        n_bias_params=sum(p.numel() for name, p in names.items() if name.endswith(".bias")),
        head_size=shape.head_size,
        flops_per_token=work.flops_per_token,
        attention_share=1 - matmul_flops / work.flops_per_token,
        peak_flops=peak if on_cpu else peak * world_size,
        peak_source=peak_source,
        weights_bytes=memory.weights_bytes,
        gradients_bytes=memory.gradients_bytes,
        optimizer_bytes=memory.optimizer_bytes,
        activations_bytes=memory.activations_bytes,
        available_bytes=available,
        checkpoint_bytes=memory.weights_bytes + memory.optimizer_bytes,
        final_lr=learning_rate(max(0, config.max_iters - 1), config),
        n_evals=n_evaluations(config, first_iter),
        timing=timing or probe.timing_by_peak(config, work),
    )
    return made, loaded


def n_evaluations(config: TrainConfig, first_iter: int = 0) -> int:
    """How often a run evaluates: at every multiple of eval_interval, and at its end."""
    if config.eval_only or first_iter >= config.max_iters:
        return 1
    interval = config.eval_interval
    return (config.max_iters - 1) // interval - (first_iter - 1) // interval + 1


def _timing(
    start: Start | None,
    shape: ModelConfig,
    dataset: Dataset,
    config: TrainConfig,
    hardware: Hardware,
    work: probe.Work,
    reporter: Reporter,
) -> Timing | None:
    """By the probe; None where it would take too long, or the memory is not enough after all."""
    rows = probe.probe_rows(config, work)
    if rows == 0:
        return None
    torch.manual_seed(config.seed)
    batches = Batches(
        tokens=dataset.tokens("train"),
        block_size=config.block_size,
        seed=config.seed,
        order=config.data_order,
    )
    try:
        raw: LanguageModel = (start.model if start else new_model(shape)).to(hardware.device)
        model = compile_model(raw, config, hardware, reporter) if rows == config.batch_size else raw
        return probe.probe(model, raw, batches, config, hardware, work, rows)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None  # the estimate of the memory, which is shown beside, was a little too low

"""From a configuration and a dataset to a trained run directory: builds the objects, then lets `Trainer` run.

Everything the user can have got wrong is found before the run directory is made.
"""

import dataclasses
import platform
import shutil
import sys
import time
from pathlib import Path

import numpy
import torch

from nanogpt_cli import __version__
from nanogpt_cli.config.load import LoadedConfig, dump_toml
from nanogpt_cli.config.schema import AUTO, TrainConfig
from nanogpt_cli.data.batches import Batches, check_length
from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE, save_tokenizer
from nanogpt_cli.engine import flops
from nanogpt_cli.engine.batch_size import choose_batch_size
from nanogpt_cli.engine.compiling import compile_model, compile_sharded
from nanogpt_cli.engine.determinism import fixed_order
from nanogpt_cli.engine.device import Hardware, choose_hardware
from nanogpt_cli.engine.distributed import (
    Distributed,
    free_groups,
    from_environment,
    is_lost_connection,
    micro_batches_per_rank,
    process_group,
)
from nanogpt_cli.engine.free_memory import available_memory
from nanogpt_cli.engine.interrupts import stop_on_signals
from nanogpt_cli.engine.memory_warning import warn_of_memory
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.optim import build_optimizer
from nanogpt_cli.engine.out_of_memory import Attempt, is_out_of_memory, out_of_memory
from nanogpt_cli.engine.preview import preview_of
from nanogpt_cli.engine.runs import CONFIG_FILE, changed_settings
from nanogpt_cli.engine.sharded import (
    choose_strategy,
    device_bytes,
    shard_model,
)
from nanogpt_cli.engine.start import padded_vocab_size, starting_point
from nanogpt_cli.engine.summary import run_ended, run_started
from nanogpt_cli.engine.trainer import TrainBatches, Trainer
from nanogpt_cli.errors import DivergedError, LostPeerError, NanoGPTError
from nanogpt_cli.events import Aborted, Notice, NullReporter, Reporter, RunEnded, Warned
from nanogpt_cli.files import write_atomic, write_json


def train(
    loaded: LoadedConfig,
    dataset: Dataset,
    run_dir: Path,
    *,
    reporter: Reporter | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> RunEnded:
    """Train in `run_dir` and return the summary, whose `reason` tells how the run ended.

    With `resume` the newest intact checkpoint of `run_dir` is continued. With `overwrite` an earlier run
    there is removed once everything else is in order. Raises NanoGPTError for what the user can
    put right, DivergedError when the loss stops being finite.
    """
    attempt = Attempt(config=loaded.config, run_dir=run_dir, vocab_size=padded_vocab_size(dataset))
    try:
        ended = _train(
            loaded,
            dataset,
            run_dir,
            reporter or NullReporter(),
            attempt,
            resume=resume,
            overwrite=overwrite and not resume,
        )
        free_groups()
        return ended
    except (RuntimeError, MemoryError) as error:
        if is_lost_connection(error):
            raise LostPeerError(
                "another process of this run has ended, and its part of the work is missing",
                "see what it said, then go on from the last checkpoint with the same command and --resume",
            ) from error
        if not is_out_of_memory(error):
            raise
    raise out_of_memory(attempt)  # here, as the exception's frames hold the tensors of the run


def _train(
    loaded: LoadedConfig,
    dataset: Dataset,
    run_dir: Path,
    reporter: Reporter,
    attempt: Attempt,
    *,
    resume: bool,
    overwrite: bool,
) -> RunEnded:
    dist = from_environment()
    reporter = reporter if dist.is_main else NullReporter()
    started = time.perf_counter()
    hardware = choose_hardware(loaded.config, local_rank=dist.local_rank)
    attempt.hardware, attempt.world_size = hardware, dist.world_size
    attempt.free_bytes = available_memory(hardware.device)
    if loaded.config.batch_size != AUTO:
        micro_batches_per_rank(loaded.config.gradient_accumulation_steps, dist.world_size)
    with (
        fixed_order(loaded.config.deterministic, hardware.device),
        process_group(dist, loaded.config.backend, hardware.device),
        stop_on_signals(lambda: reporter.emit(Aborted())) as stop,
    ):
        if dist.is_main and loaded.config.init_from == "scratch":  # given weights decide the shape below
            warn_of_memory(attempt, reporter)
        start, loaded = starting_point(loaded, dataset, run_dir, resume=resume, reporter=reporter, dist=dist)
        for split in ("train", "val"):
            check_length(split, dataset.splits[split].tokens, loaded.config.block_size)
        model = start.model
        if loaded.config.batch_size == AUTO:
            loaded = choose_batch_size(
                loaded,
                model.config.vocab_size,
                hardware,
                reporter,
                processes=dist.world_size,
                dist=dist,
                model=model,
            )
        attempt.config = config = loaded.config
        if dist.is_main and config.init_from != "scratch":
            warn_of_memory(attempt, reporter)
        if resume and (changed := changed_settings(run_dir, config)):
            reporter.emit(Notice(message=f"changed since this run was last started: {changed}"))
        strategy = _place(model, config, hardware, dist, reporter)
        optimizer = build_optimizer(model, config, hardware, dist)
        if start.checkpoint is not None:
            start.checkpoint.restore_optimizer(model, optimizer)
        preview = preview_of(config, dataset, reporter)
        peak, peak_source = flops.peak_flops(hardware)
        if dist.is_main:
            _open_run_dir(run_dir, loaded, dataset, hardware, resume=resume, overwrite=overwrite)
        dist.barrier()
        trainer = Trainer(
            config=config,
            model=model,
            raw_model=model,
            optimizer=optimizer,
            batches=_batches(dataset, config),
            state=start.state,
            saved=start.checkpoint is not None and start.checkpoint.path.is_dir(),  # not nanoGPT's ckpt.pt
            hardware=hardware,
            dist=dist,
            reporter=reporter,
            run_dir=run_dir,
            dataset=_identity(dataset),
            flops_per_token=flops.model_flops_per_token(model),
            peak_flops=peak * dist.world_size,
            preview=preview,
            stop=stop,
        )
        reporter.emit(run_started(trainer, dataset, peak_source=peak_source, resumed=resume))
        if strategy == "fsdp":
            compile_sharded(model, config, hardware, dist, reporter)
        else:
            compiled = compile_model(model, config, hardware, reporter, world_size=dist.world_size)
            trainer.model = dist.wrap(compiled, hardware.device)

        def summary(reason: str) -> RunEnded:
            seconds = time.perf_counter() - started
            event = run_ended(trainer, reason, peak_source=peak_source, wall_seconds=seconds)
            reporter.emit(event)
            return event

        try:
            ended = summary(trainer.run())
            # All end together: torchrun stops the others when one ends by a signal, and rank 0 may be saving.
            dist.barrier()
            return ended
        except DivergedError:
            summary("nonfinite")
            raise


# --- What a run is built of


def _batches(dataset: Dataset, config: TrainConfig) -> TrainBatches:
    def source(split: str) -> Batches:
        return Batches(
            tokens=dataset.tokens(split),
            block_size=config.block_size,
            seed=config.seed,
            order=config.data_order,
        )

    return TrainBatches(train=source("train"), val=source("val"))


def _place(
    model: LanguageModel, config: TrainConfig, hardware: Hardware, dist: Distributed, reporter: Reporter
) -> str:
    """Put the model on the device, whole or this rank's shards of it; returns the strategy."""
    strategy, why = choose_strategy(
        config,
        world_size=dist.world_size,
        n_params=model.num_params(),
        device_bytes=device_bytes(hardware.device),
    )
    if config.strategy == "auto" and strategy == "fsdp":
        reporter.emit(Notice(message=f"strategy fsdp: {why}"))
    if strategy == "fsdp":
        shard_model(model, hardware.device, dist.world_size)
        return strategy
    if config.strategy == "fsdp":
        reporter.emit(Warned(message=f"strategy fsdp has nothing to divide: {why}"))
    model.to(hardware.device)
    return strategy


def _open_run_dir(
    run_dir: Path,
    loaded: LoadedConfig,
    dataset: Dataset,
    hardware: Hardware,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    if overwrite:
        if (run_dir / "checkpoints").exists():
            shutil.rmtree(run_dir / "checkpoints")
        for name in ("metrics.jsonl", "train.log", TOKENIZER_FILE):
            (run_dir / name).unlink(missing_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    if not resume and not overwrite:
        _claim(run_dir)
    resolved = dataclasses.replace(
        loaded.config, out_dir=run_dir.as_posix(), dataset=dataset.path.as_posix(), init_from="scratch"
    )
    header = (
        f"The resolved configuration of this run (started with init_from = {loaded.config.init_from}).\n"
        f"Go on with it: nanogpt train --resume --out-dir {run_dir.as_posix()}"
    )
    own = (run_dir / CONFIG_FILE).as_posix()  # on resume most values come from this very file
    origins = {
        name: text for name, text in loaded.origins.items() if not Path(text).as_posix().startswith(own)
    }
    write_atomic(run_dir / CONFIG_FILE, dump_toml(resolved, header=header, origins=origins))
    write_json(run_dir / "env.json", _environment(hardware))
    if dataset.tokenizer is not None:
        save_tokenizer(dataset.tokenizer, run_dir)


def _claim(run_dir: Path) -> None:
    """Create the configuration file, which only one of two runs started together can do."""
    try:
        (run_dir / CONFIG_FILE).open("x").close()
    except FileExistsError:
        raise NanoGPTError(
            f"another run has just started in {run_dir}",
            "give the same command again: it takes the next free folder",
        ) from None


def _environment(hardware: Hardware) -> dict[str, object]:
    return {
        "nanogpt": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": hardware.description,
        "dtype": hardware.dtype_name,
        "threads": torch.get_num_threads(),
        "command_line": sys.argv,
    }


def _identity(dataset: Dataset) -> dict[str, str]:
    return {
        "name": dataset.name,
        "path": dataset.path.as_posix(),
        "tokenizer": dataset.tokenizer_name,
        "fingerprint": dataset.fingerprint,
    }

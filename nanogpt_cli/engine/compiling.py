"""torch.compile: in which mode, tried before it is trusted, given up in one line where it does not work."""

import warnings
from typing import Final, cast

import torch
from torch import nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine import flops
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.out_of_memory import is_out_of_memory
from nanogpt_cli.engine.sharded import compile_blocks, try_compiled_block
from nanogpt_cli.errors import first_line
from nanogpt_cli.events import Compiling, Reporter, Warned

# torch.compile's own names: https://docs.pytorch.org/docs/stable/generated/torch.compile.html
DEFAULT: Final = "default"
GRAPHS: Final = "reduce-overhead"
AUTOTUNE: Final = "max-autotune-no-cudagraphs"
# Some hundred kernels of 4 µs to start each make a millisecond or two of an iteration: 5 ms of computing at
# 400 TFLOP/s, and less than that is bound by their starts.
_LAUNCH_BOUND_FLOPS: Final = 2e12
# Three quarters of an hour at 400 TFLOP/s: a few percent of that are the minutes it takes to try kernels.
_LONG_RUN_FLOPS: Final = 1e18
_PASSES_OF_GRAPHS: Final = 3  # to warm up, to record, to replay


def compile_sharded(
    model: LanguageModel, config: TrainConfig, hardware: Hardware, dist: Distributed, reporter: Reporter
) -> None:
    """Compile the blocks of a sharded model in place, where every rank's compiler works."""
    if not hardware.compile:
        return
    reporter.emit(Compiling())
    reason = ""
    try:
        try_compiled_block(model, config, hardware)
    except Exception as error:  # whatever a compiler can raise, as in compile_model
        if is_out_of_memory(error):
            raise
        reason = first_line(error)
    reasons = [told for told in dist.gather(reason) if told]
    if reasons:
        told = f"torch.compile failed ({reasons[0]}); going on without it"
        reporter.emit(Warned(message=told))
    else:
        compile_blocks(model)


def compile_model(
    model: LanguageModel,
    config: TrainConfig,
    hardware: Hardware,
    reporter: Reporter,
    *,
    world_size: int = 1,
) -> nn.Module:
    """The compiled model, tried on one batch; the model itself when torch.compile does not work here."""
    if not hardware.compile:
        return model
    reporter.emit(Compiling())
    for tables in model.lookup_tables():  # they keep their lookups, which a compiled graph cannot do
        tables.forward = torch.compiler.disable(tables.forward)  # type: ignore[method-assign, no-untyped-call]
    mode = compile_mode(model, config, hardware, world_size=world_size)
    reason = ""
    for chosen in (mode, DEFAULT) if mode != DEFAULT else (DEFAULT,):
        try:
            return _tried(model, chosen, config, hardware)
        except Exception as error:  # whatever a compiler can raise: missing g++, Triton, unsupported Python …
            if is_out_of_memory(error):
                raise
            reason = first_line(error)
        finally:
            model.zero_grad(set_to_none=True)
    reporter.emit(Warned(message=f"torch.compile failed ({reason}); going on without it"))
    return model


def compile_mode(model: LanguageModel, config: TrainConfig, hardware: Hardware, *, world_size: int) -> str:
    """torch.compile's mode for this run: what the time to compile, or the memory of graphs, will bring back.

    CUDA graphs ("reduce-overhead") where the host cannot start kernels as fast as the GPU ends them. They
    keep gradients at fixed addresses, so a second micro-batch would overwrite the first one's: one
    micro-batch of one process only. Trying kernels for every product ("max-autotune-no-cudagraphs") takes
    minutes.
    """
    if hardware.device.type != "cuda":
        return DEFAULT
    per_token = flops.model_flops_per_token(model)
    batch_flops = per_token * config.batch_size * config.block_size
    if batch_flops < _LAUNCH_BOUND_FLOPS and config.gradient_accumulation_steps == world_size == 1:
        return GRAPHS
    run_flops = batch_flops * config.gradient_accumulation_steps / world_size * config.max_iters
    return AUTOTUNE if run_flops > _LONG_RUN_FLOPS else DEFAULT


def _tried(model: LanguageModel, mode: str, config: TrainConfig, hardware: Hardware) -> nn.Module:
    """The compiled model after a pass or, of graphs, as many as until one is replayed; raises what fails."""
    # It refuses at once on a Python it does not know.
    made = torch.compile(model) if mode == DEFAULT else torch.compile(model, mode=mode)
    compiled = cast("nn.Module", made)
    idx = torch.zeros(config.batch_size, config.block_size, dtype=torch.int64, device=hardware.device)
    for _ in range(_PASSES_OF_GRAPHS if mode == GRAPHS else 1):
        with warnings.catch_warnings():
            # Of whatever ends the tracing, Ctrl-C too, autograd prints where in the forward pass it was.
            warnings.filterwarnings("ignore", message="Error detected in")
            with hardware.autocast():
                _, loss = compiled(idx, idx)
            loss.backward()
        model.zero_grad(set_to_none=True)
    return compiled

"""The machine: why it is this device, this number format, compiled or not."""

from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Effect, RunCase, Sentence, say


def device(case: RunCase) -> Iterator[Sentence]:
    """What it is, and what it can do."""
    found = case.forecast
    yield say("auto" if case.config.device == "auto" else "chosen", device=found.device)
    yield say("peak", tera=found.peak_flops / 1e12, dtype=found.dtype)


def dtype(case: RunCase) -> Iterator[Sentence]:
    """Why this format, and what stays in float32."""
    found = case.forecast
    if (case.config.dtype, found.dtype) == ("float16", "float32"):
        yield say("instead")
    elif case.config.dtype != "auto":
        yield say("chosen", dtype=found.dtype)
    elif found.dtype == "bfloat16":
        yield say("bfloat16_cpu" if found.device_type == "cpu" else "bfloat16_gpu")
    elif found.dtype == "float16":
        yield say("float16")
    else:
        yield say("float32")
    if found.dtype != "float32":
        yield say("weights")


def compile(case: RunCase) -> Iterator[Sentence]:
    """Why it is on or off here."""
    found = case.forecast
    if case.config.compile == "auto":
        yield say("auto_on" if found.compile else "auto_off")
    else:
        yield say("on" if found.compile else "off")
        if found.compile and found.device_type == "cpu":
            yield say("on_cpu")


def strategy(case: RunCase) -> Iterator[Sentence]:
    """What each of several processes holds."""
    world = case.forecast.world_size
    if world == 1:
        yield say("single")
    elif case.config.strategy == "auto" and case.forecast.device_type == "cuda":
        yield say("auto")
    else:  # processes on processors mostly share one memory: dividing it gains nothing
        yield say("fsdp" if case.config.strategy == "fsdp" else "ddp", world=world)


def backend(case: RunCase) -> Iterator[Sentence]:
    """How several processes talk."""
    found = case.forecast
    if found.world_size == 1:
        yield say("single")
        return
    automatic = "nccl" if found.device_type == "cuda" else "gloo"
    name = automatic if case.config.backend == "auto" else case.config.backend
    yield say("several", world=found.world_size, name=name)


def deterministic(case: RunCase) -> Iterator[Sentence]:
    """Whether chance decides about the order of sums."""
    if case.forecast.device_type == "cpu":
        yield say("cpu")
    else:
        yield say("on" if case.config.deterministic else "off")


def threads(case: RunCase) -> Iterator[Sentence]:
    """How many of them compute."""
    if case.forecast.device_type != "cpu":
        yield say("gpu")
    else:
        yield say("set" if case.config.threads else "all", threads=case.forecast.threads)


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect for effect in (device, dtype, compile, strategy, backend, deterministic, threads)
}

"""Which device, which number format, whether to compile: each decision with its reason in words."""

import contextlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.allocator import keep_freed_memory
from nanogpt_cli.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a model runs and how it computes."""

    device: torch.device
    description: str  # "cpu (AMD EPYC, 2 threads)"
    dtype: torch.dtype  # of the matrix products; weights and optimizer stay float32
    dtype_name: str
    dtype_reason: str
    compile: bool
    compile_reason: str

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute matrix products in `dtype`; a float32 device needs no context."""
        if self.dtype == torch.float32:
            yield
            return
        with torch.autocast(self.device.type, dtype=self.dtype):
            yield

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards has seen the work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def choose_hardware(config: TrainConfig, *, local_rank: int | None = None) -> Hardware:
    """Decide device, dtype and compile from the settings; `local_rank` picks the GPU under torchrun."""
    device = resolve_device(config.device, local_rank=local_rank)
    if config.threads:
        torch.set_num_threads(config.threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # TF32 for what autocast leaves in float32, as nanoGPT.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    elif device.type == "cpu":
        keep_freed_memory(all_of_it=True)  # an iteration needs the same blocks as the one before
    dtype_name, dtype_reason = _choose_dtype(config.dtype, device)
    compiled, compile_reason = _choose_compile(config.compile, device)
    return Hardware(
        device=device,
        description=_describe(device),
        dtype=DTYPES[dtype_name],
        dtype_name=dtype_name,
        dtype_reason=dtype_reason,
        compile=compiled,
        compile_reason=compile_reason,
    )


def choose_inference_hardware(device: str, dtype: str) -> Hardware:
    """Where to evaluate and sample: nothing is compiled, and a CPU keeps float32 unless told otherwise.

    One token at a time is bound by reading the weights; casting them to bfloat16 on the fly only adds to it.
    """
    on_cpu = resolve_device(device).type == "cpu"
    chosen = "float32" if dtype == "auto" and on_cpu else dtype
    return choose_hardware(TrainConfig(device=device, dtype=cast("Any", chosen), compile=False))


def resolve_device(name: str, *, local_rank: int | None = None) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` → a device that is there; raises UsageError otherwise."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise UsageError(f"unknown device {name!r}", "use one of: --device auto, cpu, cuda, cuda:1, mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"device {name} was asked for, but this machine has no CUDA GPU that PyTorch can use",
            "train on the processor instead: add --device cpu",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(
            "device mps was asked for, but this machine has no Apple GPU that PyTorch can use",
            "train on the processor instead: add --device cpu",
        )
    if device.type != "cuda":
        return torch.device(device.type)
    index = local_rank if local_rank is not None else (device.index or 0)
    if index >= torch.cuda.device_count():
        raise UsageError(
            f"there is no GPU number {index}: this machine has {torch.cuda.device_count()}",
            "use --device cuda:0, or start as many processes as there are GPUs",
        )
    return torch.device("cuda", index)


def cpu_name() -> str:
    """The processor's model name; what the platform calls it where nothing better is known."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown processor"


def has_fast_cpu_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512_BF16 or AMX); without it bfloat16 is slower."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch 2.6 and later
    # ATEN_CPU_CAPABILITY and old processors: torch then has no fast path either.
    return bool(probe and probe()) and "AVX512" in torch.backends.cpu.get_cpu_capability()


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return "mps (Apple GPU)"
    threads = torch.get_num_threads()
    return f"cpu ({cpu_name()}, {threads} thread{'s' if threads > 1 else ''})"


def _choose_dtype(wanted: str, device: torch.device) -> tuple[str, str]:
    if wanted != "auto":
        if wanted == "float16" and device.type == "cpu":
            return "float32", "in place of float16, which a CPU is many times slower with; as nanoGPT"
        return wanted, "as set"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU has bfloat16 tensor cores; weights stay float32"
        return "float16", "this GPU has no bfloat16; losses are scaled (GradScaler)"
    if device.type == "cpu" and has_fast_cpu_bfloat16():
        return "bfloat16", "this CPU multiplies bfloat16 in hardware; weights stay float32"
    return "float32", f"bfloat16 is not faster on this {'CPU' if device.type == 'cpu' else 'device'}"


def _choose_compile(wanted: bool | str, device: torch.device) -> tuple[bool, str]:
    if isinstance(wanted, bool):
        return wanted, "as set"
    if device.type == "cuda":
        return True, "it pays on a GPU"
    return False, f"on {device.type} compiling takes longer than short runs save"

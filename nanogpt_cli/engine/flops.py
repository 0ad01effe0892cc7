"""FLOPs of a training step, and the peak they are measured against: model FLOPs utilisation (MFU).

MFU = flops_per_token · tokens per second / peak FLOP/s of *this* device at *this* dtype (PaLM, appendix B,
https://arxiv.org/abs/2204.02311). The peak is a datasheet figure for known accelerators, and a measured rate
of square matrix products for CPUs and unknown devices.
"""

import json
import math
import time
from pathlib import Path

import torch

from nanogpt_cli.accelerators import accelerator
from nanogpt_cli.engine.device import Hardware, cpu_name
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.files import cache_dir, write_json

_GEMM_SIZE = 1024  # 2 * 1024³ = 2.1 GFLOP a product: milliseconds on a core, and beyond any cache's edge
_GEMM_REPEATS = 30
_CACHE_VERSION = 1


def flops_per_token(config: ModelConfig, n_params: int) -> float:
    """Forward and backward FLOPs of one token: 6·N for the weights, 12·L·H·Q·T for attention (as nanoGPT)."""
    attention = 12 * config.n_layer * config.n_head * config.head_size * config.block_size
    return float(6 * n_params + attention)


def model_flops_per_token(model: LanguageModel) -> float:
    """`flops_per_token` of a built model."""
    return flops_per_token(model.config, model.num_matmul_params())


def peak_flops(hardware: Hardware, *, remember: bool = True) -> tuple[float, str]:
    """Peak FLOP/s of one device at the training dtype, and where the figure is from.

    With `remember` a measured one is kept for later runs.
    """
    if hardware.device.type == "cuda":
        name = torch.cuda.get_device_name(hardware.device)
        known = accelerator(name)
        if known is not None and hardware.dtype_name in known.peak_flops:
            source = f"datasheet, dense {hardware.dtype_name}: {known.source}"
            return known.peak_flops[hardware.dtype_name], source
    return _measured_peak(hardware, remember=remember)


def _measured_peak(hardware: Hardware, *, remember: bool) -> tuple[float, str]:
    """Measure once per machine, dtype and thread count; later runs read the cached figure."""
    source = f"measured: {hardware.dtype_name} matrix products of {_GEMM_SIZE} on this device"
    processor = cpu_name() if hardware.device.type == "cpu" else hardware.description
    capability = torch.backends.cpu.get_cpu_capability()
    key = f"{processor} | {hardware.description} | {capability} | {hardware.dtype_name} | {torch.__version__}"
    path = cache_dir() / "peak_flops.json"
    cached = _read_cache(path)
    if key in cached:
        return cached[key], source
    peak = measure_gemm(hardware)
    if not remember:
        return peak, source
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"version": _CACHE_VERSION, "peaks": {**cached, key: peak}})
    except OSError:
        return peak, source  # a read-only home only costs measuring again
    return peak, source


def measure_gemm(hardware: Hardware) -> float:
    """FLOP/s of square matrix products in the training dtype: of the fastest one."""
    left, right = (
        torch.randn(_GEMM_SIZE, _GEMM_SIZE, device=hardware.device, dtype=hardware.dtype) for _ in range(2)
    )
    seconds = []
    for _ in range(_GEMM_REPEATS):
        hardware.synchronize()
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        hardware.synchronize()
        seconds.append(time.perf_counter() - start)
    # Other programs only ever slow a product down, and the figure is kept: the fastest is nearest the truth.
    return 2 * _GEMM_SIZE**3 / min(seconds)


def _read_cache(path: Path) -> dict[str, float]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # missing or damaged: measure again
    if not isinstance(document, dict) or document.get("version") != _CACHE_VERSION:
        return {}
    peaks = document.get("peaks")
    if not isinstance(peaks, dict):
        return {}
    return {k: float(v) for k, v in peaks.items() if isinstance(v, int | float) and 0 < v < math.inf}

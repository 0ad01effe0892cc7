"""Peak arithmetic of known accelerators, from their makers' datasheets.

Dense FLOP/s by dtype, without sparsity; float32 is TF32 where the device has it, since that is what torch
trains with there. bfloat16 and float16 are the rates with float32 accumulation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NVIDIA: Final = "https://www.nvidia.com/en-us/data-center"
_ADA: Final = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
_AMPERE: Final = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
_BLACKWELL: Final = (
    "https://images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf"
)


@dataclass(frozen=True)
class Accelerator:
    """One device: what its name contains, dense FLOP/s by dtype, and where the figures are from."""

    name: str
    peak_flops: Mapping[str, float]
    source: str

    @property
    def training_dtype(self) -> str:
        """What it trains fastest in without losing range: bfloat16, or float16 where it has none."""
        return "bfloat16" if "bfloat16" in self.peak_flops else "float16"


def _tensor_cores(name: str, half: float, tf32: float, source: str) -> Accelerator:
    """A device that multiplies bfloat16 and float16 at one rate."""
    return Accelerator(name, {"bfloat16": half, "float16": half, "float32": tf32}, source)


# The first whose name a device's contains as words counts, so the longer names stand first.
ACCELERATORS: Final = (
    _tensor_cores("B200", 2250e12, 1125e12, f"{_NVIDIA}/dgx-b200/"),
    _tensor_cores("H200", 989e12, 494e12, f"{_NVIDIA}/h200/"),
    _tensor_cores("H100 NVL", 835e12, 417e12, f"{_NVIDIA}/h100/"),
    _tensor_cores("H100 PCIe", 756e12, 378e12, f"{_NVIDIA}/h100/"),
    _tensor_cores("H100", 989e12, 494e12, f"{_NVIDIA}/h100/"),
    _tensor_cores("A100", 312e12, 156e12, f"{_NVIDIA}/a100/"),
    _tensor_cores("L40S", 362e12, 183e12, f"{_NVIDIA}/l40s/"),
    _tensor_cores("L4", 121e12, 60e12, f"{_NVIDIA}/l4/"),
    _tensor_cores("A10G", 70e12, 35e12, f"{_NVIDIA}/products/a10-gpu/"),
    _tensor_cores("A10", 125e12, 62.5e12, f"{_NVIDIA}/products/a10-gpu/"),
    _tensor_cores("RTX A6000", 155e12, 77e12, _AMPERE),
    _tensor_cores("RTX 5090", 209e12, 105e12, _BLACKWELL),
    _tensor_cores("RTX 4090", 165e12, 83e12, _ADA),
    _tensor_cores("RTX 3090", 71e12, 36e12, _AMPERE),
    _tensor_cores(
        "MI300X", 1307e12, 654e12, "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html"
    ),
    Accelerator("V100", {"float16": 125e12, "float32": 15.7e12}, f"{_NVIDIA}/v100/"),
    Accelerator("T4", {"float16": 65e12, "float32": 8.1e12}, f"{_NVIDIA}/tesla-t4/"),
)


def accelerator_names() -> str:
    """The names that `accelerator` knows, for an error."""
    return ", ".join(known.name for known in ACCELERATORS)


def peak_flops(name: str, dtype: str) -> float:
    """Dense FLOP/s of a device of the table, by its name there."""
    return next(known.peak_flops[dtype] for known in ACCELERATORS if known.name == name)


def accelerator(device_name: str) -> Accelerator | None:
    """The device that a driver's or a person's name means; None where its peak is not known.

    Whole words count: an L40 is no L4, an RTX A1000 no A100; a laptop's or a Ti is another chip as well.
    """
    for known in ACCELERATORS:
        if re.search(rf"\b{known.name}\b(?! (?:Ti|D|Laptop)\b)", device_name, re.IGNORECASE):
            return known
    return None

"""Device, dtype and compile: what is chosen on which machine, and why, in words."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nanogpt_cli.engine import device as module
from nanogpt_cli.engine.device import (
    choose_hardware,
    choose_inference_hardware,
    has_fast_cpu_bfloat16,
    resolve_device,
)
from nanogpt_cli.errors import UsageError
from tests.engine.tiny import tiny_config


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a plain processor and nothing else, whatever these tests run on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(module, "has_fast_cpu_bfloat16", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    for owner, name in ((torch.backends.cuda, "matmul"), (torch.backends, "cudnn")):
        monkeypatch.setattr(owner, name, SimpleNamespace(allow_tf32=False))


# --- Device


def test_auto_on_a_machine_without_accelerators() -> None:
    hardware = choose_hardware(tiny_config(device="auto", dtype="auto", compile="auto"))
    assert hardware.device == torch.device("cpu")
    assert hardware.description.startswith("cpu (")
    assert "thread" in hardware.description
    assert (hardware.dtype, hardware.dtype_name) == (torch.float32, "float32")
    assert hardware.dtype_reason == "bfloat16 is not faster on this CPU"
    assert not hardware.compile
    assert "cpu" in hardware.compile_reason


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.usefixtures("two_gpus")
def test_a_cpu_keeps_all_freed_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(module, "keep_freed_memory", lambda *, all_of_it: kept.append(all_of_it))
    choose_hardware(tiny_config(device=device))
    assert kept == ([True] if device == "cpu" else [])


@pytest.mark.usefixtures("two_gpus")
def test_auto_on_a_machine_with_gpus() -> None:
    hardware = choose_hardware(tiny_config(device="auto", dtype="auto", compile="auto"))
    assert hardware.device == torch.device("cuda", 0)
    assert hardware.description == "cuda:0 (NVIDIA H100 80GB HBM3)"
    assert hardware.dtype == torch.bfloat16
    assert "bfloat16 tensor cores" in hardware.dtype_reason
    assert hardware.compile
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_without_bfloat16_gets_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    hardware = choose_hardware(tiny_config(device="auto", dtype="auto"))
    assert hardware.dtype == torch.float16
    assert "GradScaler" in hardware.dtype_reason


def test_auto_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    hardware = choose_hardware(tiny_config(device="auto", dtype="auto", compile="auto"))
    assert hardware.device == torch.device("mps")
    assert hardware.dtype == torch.float32
    assert not hardware.compile


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "local_rank", "expected"),
    [("cpu", None, "cpu"), ("cuda", None, "cuda:0"), ("cuda:1", None, "cuda:1"), ("cuda", 1, "cuda:1")],
)
def test_a_named_device(name: str, local_rank: int | None, expected: str) -> None:
    assert resolve_device(name, local_rank=local_rank) == torch.device(expected)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "local_rank"), [("cuda:2", None), ("cuda", 5)])
def test_a_gpu_that_is_not_there(name: str, local_rank: int | None) -> None:
    with pytest.raises(UsageError, match="this machine has 2"):
        resolve_device(name, local_rank=local_rank)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_accelerator_asked_for_in_vain(name: str) -> None:
    with pytest.raises(UsageError, match=f"device {name} was asked for") as caught:
        resolve_device(name)
    assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "xpu", "meta", "Cpu "])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(UsageError, match="unknown device") as caught:
        resolve_device(name)
    assert "cpu, cuda" in caught.value.hint


# --- Number format


def test_a_cpu_with_bfloat16_uses_it_to_train_but_not_to_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_fast_cpu_bfloat16", lambda: True)
    hardware = choose_hardware(tiny_config(dtype="auto"))
    assert hardware.dtype == torch.bfloat16
    assert "in hardware" in hardware.dtype_reason
    assert choose_inference_hardware("auto", "auto").dtype == torch.float32
    assert choose_inference_hardware("cpu", "bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("probe", "capability", "expected"),
    [(True, "AVX512", True), (True, "AVX2", False), (False, "AVX512", False), (None, "AVX512", False)],
)
def test_fast_bfloat16_needs_the_processor_and_torch(
    probe: bool | None, capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch before 2.6 has no probe, and ATEN_CPU_CAPABILITY=avx2 switches the fast path off."""
    if probe is None:
        monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: probe, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert has_fast_cpu_bfloat16() is expected


def test_float16_on_a_cpu_is_float32_as_in_nanogpt() -> None:
    """nanoGPT's train.py has no autocast on a CPU: its --dtype=float16 --device=cpu computes in float32."""
    hardware = choose_hardware(tiny_config(dtype="float16"))
    assert (hardware.dtype, hardware.dtype_name) == (torch.float32, "float32")
    assert hardware.dtype_reason.startswith("in place of float16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_that_is_set_is_kept_and_used(dtype: str) -> None:
    hardware = choose_hardware(tiny_config(dtype=dtype))
    assert hardware.dtype_reason == "as set"
    with hardware.autocast():
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert str(product.dtype) == f"torch.{dtype}"


# --- The rest


@pytest.mark.parametrize("wanted", [True, False])
def test_compile_that_is_set_is_kept(wanted: bool) -> None:
    hardware = choose_hardware(tiny_config(compile=wanted))
    assert (hardware.compile, hardware.compile_reason) == (wanted, "as set")


def test_threads_are_set() -> None:
    assert "3 threads" in choose_hardware(tiny_config(threads=3)).description
    assert torch.get_num_threads() == 3
    assert "1 thread)" in choose_hardware(tiny_config(threads=1)).description


def test_a_processor_without_a_name_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _path: False)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    monkeypatch.setattr(module.platform, "machine", lambda: "")
    assert module.cpu_name() == "unknown processor"

"""FLOPs per token by hand, and the peak: from the datasheet where there is one, else measured and kept."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from nanogpt_cli.engine import flops as module
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.flops import flops_per_token, measure_gemm, model_flops_per_token, peak_flops
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from tests.engine.tiny import cpu_hardware, shape_of, tiny_config


def test_gpt2_124m_by_hand() -> None:
    """nanoGPT's default, biases off, 50,304 rows: N = 50304·768 + 12·(12·768² + 2·768) + 768 = 123,587,328.

    6·N + 12·12·12·64·1024 = 741,523,968 + 113,246,208 = 854,770,176 FLOPs a token.
    """
    shape = GPT2Config(vocab_size=50304, block_size=1024, n_layer=12, n_head=12, n_embd=768)
    with torch.device("meta"):
        assert GPT2(shape).num_params() == 123_587_328
    assert flops_per_token(shape, 123_587_328) == 854_770_176.0


def test_a_models_own_flops() -> None:
    model = GPT2(shape_of(tiny_config()))
    assert model_flops_per_token(model) == 6 * model.num_params() + 12 * 2 * 16 * 8


# --- The datasheet


def gpu(dtype: str = "bfloat16") -> Hardware:
    return dataclasses.replace(
        cpu_hardware(),
        device=torch.device("cuda", 0),
        dtype=getattr(torch, dtype),
        dtype_name=dtype,
        description="cuda:0 (some GPU)",
    )


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),  # an SXM board's name does not say so
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H100 NVL", "bfloat16", 835e12),
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-SXM4-80GB", "float32", 156e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("Tesla V100-SXM2-16GB", "float16", 125e12),
        ("Tesla T4", "float16", 65e12),
    ],
)
def test_known_gpus(name: str, dtype: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: name)
    monkeypatch.setattr(module, "measure_gemm", lambda _hardware: pytest.fail("nothing to measure"))
    peak, source = peak_flops(gpu(dtype))
    assert peak == expected
    assert source.startswith(f"datasheet, dense {dtype}: https://")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("NVIDIA Q7000", "bfloat16"),
        ("Tesla T4", "bfloat16"),
        ("NVIDIA L40", "bfloat16"),
        ("NVIDIA RTX A1000", "bfloat16"),
        ("NVIDIA GeForce RTX 3090 Ti", "bfloat16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16"),
    ],
)
def test_a_gpu_or_a_dtype_that_is_not_in_the_table_is_measured(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: names were searched as parts of words, so an L40 counted as an L4 and an RTX A1000 as an A100."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: name)
    monkeypatch.setattr(module, "measure_gemm", lambda _hardware: 7e12)
    peak, source = peak_flops(gpu(dtype))
    assert peak == 7e12
    assert source.startswith("measured: ")


# --- Measured, and kept


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every measurement gives one more TFLOP/s than the one before."""
    calls: list[float] = []

    def measure(_hardware: Hardware) -> float:
        calls.append(1e12 * (len(calls) + 1))
        return calls[-1]

    monkeypatch.setattr(module, "measure_gemm", measure)
    return calls


def cache() -> Path:
    return Path(os.environ["NANOGPT_CACHE_DIR"]) / "peak_flops.json"


def test_a_cpu_is_measured_once(measured: list[float]) -> None:
    assert [peak_flops(cpu_hardware())[0] for _ in range(3)] == [1e12] * 3
    assert measured == [1e12]
    assert "measured" in peak_flops(cpu_hardware())[1]


def test_another_dtype_or_thread_count_is_measured_again(measured: list[float]) -> None:
    base = cpu_hardware()
    peak_flops(base)
    peak_flops(dataclasses.replace(base, dtype=torch.bfloat16, dtype_name="bfloat16"))
    peak_flops(dataclasses.replace(base, description="cpu (the same, 64 threads)"))
    assert len(measured) == 3
    assert peak_flops(base)[0] == 1e12
    assert len(json.loads(cache().read_text(encoding="utf-8"))["peaks"]) == 3


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"version": 0, "peaks": {}}',
        '{"version": 1}',
        '{"version": 1, "peaks": []}',
        '{"version": 1, "peaks": null}',
        "\ufffd",
    ],
)
def test_a_damaged_cache_is_measured_anew_and_mended(content: str, measured: list[float]) -> None:
    cache().parent.mkdir(parents=True)
    cache().write_text(content, encoding="utf-8")
    assert peak_flops(cpu_hardware())[0] == 1e12
    assert peak_flops(cpu_hardware())[0] == 1e12
    assert measured == [1e12]


@pytest.mark.parametrize("value", ["0", "-1", '"fast"', "null", "NaN", "Infinity"])
def test_a_peak_that_makes_no_sense_is_measured_anew(value: str, measured: list[float]) -> None:
    peak_flops(cpu_hardware())
    sensible = cache().read_text(encoding="utf-8")
    cache().write_text(sensible.replace("1000000000000.0", value), encoding="utf-8")
    assert peak_flops(cpu_hardware())[0] == 2e12
    assert len(measured) == 2


def test_a_cache_that_cannot_be_written_costs_only_measuring_again(
    measured: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "write_json", read_only)
    assert [peak_flops(cpu_hardware())[0] for _ in range(2)] == [1e12, 2e12]
    assert not cache().exists()


def test_a_measured_rate_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of 4³ in 30, 29 … 1 µs: a busy machine can only make the others slower."""
    monkeypatch.setattr(module, "_GEMM_SIZE", 4)
    now = 0.0
    readings = iter(range(60))

    def clock() -> float:
        nonlocal now
        reading = next(readings)
        if reading % 2:
            now += 1e-6 * (30 - reading // 2)
        return now

    monkeypatch.setattr("time.perf_counter", clock)
    assert measure_gemm(cpu_hardware()) == pytest.approx(2 * 4**3 / 1e-6)

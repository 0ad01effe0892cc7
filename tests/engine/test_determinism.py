"""`deterministic`: what is switched for a GPU, for how long, and that a CPU needs none of it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nanogpt_cli.engine import train as engine_train
from nanogpt_cli.engine.determinism import fixed_order
from tests.engine.datasets import prepared, tiny_settings

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


def switched() -> tuple[bool, str | None]:
    return torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")


def test_a_gpu_is_switched_while_the_run_lasts_also_when_it_fails() -> None:
    filled = torch.utils.deterministic.fill_uninitialized_memory
    seen = []

    def fail() -> None:
        with fixed_order(True, GPU):
            seen.append((*switched(), torch.utils.deterministic.fill_uninitialized_memory))
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert seen == [(True, ":4096:8", False)]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == filled


def test_what_the_user_told_cublas_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with fixed_order(True, GPU):
        assert switched() == (True, ":16:8")


@pytest.mark.parametrize(("wanted", "device"), [(False, GPU), (True, torch.device("cpu"))])
def test_nothing_is_switched_unasked_or_on_a_cpu(wanted: bool, device: torch.device) -> None:
    with fixed_order(wanted, device):
        assert switched() == (False, None)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_trains_and_measures_in_it(deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    @contextlib.contextmanager
    def observed(wanted: bool, device: torch.device) -> Iterator[None]:
        told.extend((wanted, device.type))
        yield
        told.append("end")

    def build(*args: object, **kwargs: object) -> None:
        told.append("built")
        raise RuntimeError("far enough")

    monkeypatch.setattr(engine_train, "fixed_order", observed)
    monkeypatch.setattr(engine_train, "Trainer", build)
    with pytest.raises(RuntimeError, match="far enough"):
        engine_train.train(tiny_settings(deterministic=deterministic), prepared(), Path("out/run"))
    assert told == [deterministic, "cpu", "built"]

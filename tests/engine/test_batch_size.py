"""`--batch-size auto`: the largest micro-batch that fits; the training stays what it was."""

import dataclasses

import pytest
import torch

from nanogpt_cli.config.load import Layer, LoadedConfig, dump_toml, load_config, merge
from nanogpt_cli.config.schema import AUTO, SETTINGS
from nanogpt_cli.engine import batch_size as module
from nanogpt_cli.engine.batch_size import choose_batch_size, tried
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.memory import estimate_memory
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.start import model_shape
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Notice
from tests.cli.tiny_run import RUN, prepare, train
from tests.engine.tiny import Recorder, cpu_hardware, tiny_config
from tests.helpers import run_cli

CONFIG = tiny_config(batch_size=12, gradient_accumulation_steps=4, eval_iters=10)


def asked(**changes: object) -> LoadedConfig:
    """CONFIG with batch_size auto laid over it."""
    values = {**dataclasses.asdict(CONFIG), **changes}
    below = Layer(origin="preset tiny", values=values)
    return merge([below, Layer(origin="flag", values={"batch_size": "auto"})], label="tiny")


def with_free(n_bytes: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_for_one", lambda *_: n_bytes)


def needed(size: int) -> int:
    config = dataclasses.replace(CONFIG, batch_size=size, gradient_accumulation_steps=48 // size)
    return estimate_memory(config, 13, cpu_hardware()).total_bytes


def test_auto_keeps_what_the_layers_below_it_ask_for() -> None:
    loaded = asked()
    assert loaded.config.batch_size == AUTO
    assert loaded.kept_batch_size == 12
    assert SETTINGS["batch_size"].parse("auto") == AUTO
    with pytest.raises(ValueError, match="a whole number or auto from 1"):
        SETTINGS["batch_size"].parse(0)
    assert 'batch_size = "auto"' in dump_toml(loaded.config)
    assert load_config(preset="cpu-tiny", flags={"batch_size": "auto"}, environment={}).kept_batch_size == 12


@pytest.mark.parametrize("size", [1, 8, 24, 48])
def test_the_largest_that_fits_is_taken(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 2 3 4 6 8 12 16 24 48, which make 48 sequences an iteration."""
    with_free(int(needed(size) / 0.8) + 100, monkeypatch)
    recorder = Recorder()
    config = choose_batch_size(asked(), 13, cpu_hardware(), recorder, processes=1).config
    assert config.batch_size == size
    assert config.gradient_accumulation_steps == 48 // size
    assert config.eval_iters * config.batch_size >= 120 > (config.eval_iters - 1) * config.batch_size
    (notice,) = recorder.of(Notice)
    assert notice.message.startswith(f"batch_size auto: {size} sequences at once (about ")
    assert notice.message.endswith("= 48 sequences per iteration, as set")


def test_several_processes_share_the_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(1 << 40, monkeypatch)
    config = choose_batch_size(asked(), 13, cpu_hardware(), Recorder(), processes=4).config
    assert (config.batch_size, config.gradient_accumulation_steps) == (12, 4)
    with pytest.raises(UsageError, match="48 sequences per iteration cannot be divided among 5"):
        choose_batch_size(asked(), 13, cpu_hardware(), Recorder(), processes=5)


def test_what_cannot_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(1000, monkeypatch)
    with pytest.raises(NanoGPTError, match="not even one sequence at a time fits"):
        choose_batch_size(asked(), 13, cpu_hardware(), Recorder(), processes=1)


def test_a_system_that_does_not_tell_gets_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(None, monkeypatch)
    config = choose_batch_size(asked(), 13, cpu_hardware(), Recorder(), processes=1).config
    assert (config.batch_size, config.gradient_accumulation_steps) == (12, 4)


def test_a_real_pass_has_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate lets 48 through; the model itself runs out of memory above 8."""
    with_free(1 << 40, monkeypatch)
    model = new_model(model_shape(CONFIG, 13))
    real, seen = model.forward, []

    def forward(idx: torch.Tensor, targets: torch.Tensor) -> object:
        seen.append(len(idx))
        if len(idx) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(idx, targets)

    monkeypatch.setattr(model, "forward", forward)
    before = torch.get_rng_state()
    chosen = choose_batch_size(asked(dropout=0.5), 13, cpu_hardware(), Recorder(), processes=1, model=model)
    assert seen == [48, 24, 16, 12, 8]
    assert chosen.config.batch_size == 8
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())


def test_other_errors_of_the_pass_are_not_taken_for_memory() -> None:
    def broken(_size: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        tried([1, 2], broken, Distributed(), cpu_hardware())


def test_a_run_records_the_number_found_and_is_the_run_it_would_have_been() -> None:
    prepare()
    steps = ("--gradient-accumulation-steps", 2)  # of the preset's 12 sequences
    plain = train(*steps, "--batch-size", 12, "--out-dir", "out/plain", "--json").json()
    result = train(*steps, "--batch-size", "auto", "--json")
    assert result.code == 0, result.err
    assert "batch_size auto: 24 sequences at once" in result.err
    toml = (RUN / "config.toml").read_text(encoding="utf-8")
    assert "batch_size = 24  # batch_size auto" in toml
    assert "gradient_accumulation_steps = 1  # batch_size auto" in toml
    assert result.json()["final_val_loss"] == pytest.approx(plain["final_val_loss"], abs=0.05)
    dry = run_cli("train", "--preset", "cpu-tiny", "--batch-size", "auto", "--nproc", 3, "--explain")
    assert dry.code == 0, dry.err
    assert "batch_size auto: 4 sequences at once" in dry.err

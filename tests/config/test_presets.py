"""The presets: their numbers, and the choice made when none is named."""

import math

import pytest

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.presets import choose_preset, preset_names, preset_summary
from nanogpt_cli.config.schema import TrainConfig


def preset(name: str) -> TrainConfig:
    return load_config(preset=name, environment={}).config


def test_the_presets_are_these() -> None:
    assert preset_names() == [
        "cpu-best",
        "cpu-speedrun",
        "cpu-tiny",
        "finetune-gpt2",
        "gpt2-124m",
        "gpt2-large",
        "gpt2-medium",
        "gpt2-xl",
        "gpu-speedrun",
        "shakespeare-char",
    ]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_without_a_warning_and_says_what_it_is(name: str) -> None:
    assert load_config(preset=name, environment={}).warnings == ()
    assert "parameters: " in preset_summary(name)


@pytest.mark.parametrize("name", preset_names())
def test_the_parameter_count_in_the_first_line_is_true(name: str) -> None:
    """N without position embeddings: V*C for the tied embedding, 12*C^2 a block, LayerNorms beside.

    nanochat's head is not tied; with n-grams comes their table.
    """
    config = preset(name)
    vocab_size = 65 if name.startswith(("cpu-", "gpu-")) or name == "shakespeare-char" else 50257
    n_params = vocab_size * config.n_embd + 12 * config.n_layer * config.n_embd**2
    if config.arch == "nanochat":
        rows = config.ngram_rows if config.ngram_order >= 2 else 0
        n_params += (vocab_size + rows) * config.n_embd
    said = float(preset_summary(name).split("M ")[0])
    assert math.isclose(n_params / 1e6, said, rel_tol=0.02)


def test_cpu_tiny_is_what_nanogpts_readme_gives_for_a_cpu() -> None:
    config = preset("cpu-tiny")
    assert (config.n_layer, config.n_head, config.n_embd) == (4, 4, 128)
    assert (config.block_size, config.batch_size, config.gradient_accumulation_steps) == (64, 12, 1)
    assert (config.max_iters, config.lr_decay_iters, config.warmup_iters) == (2000, 2000, 100)
    assert (config.learning_rate, config.min_lr, config.decay_lr) == (1e-3, 1e-4, True)
    assert (config.dropout, config.eval_iters, config.beta2) == (0.0, 20, 0.99)
    assert config.data_order == "shuffle"


def test_cpu_speedrun_learns_from_few_iterations() -> None:
    config = preset("cpu-speedrun")
    assert (config.arch, config.ngram_order, config.optimizer) == ("nanochat", 6, "muon")
    assert (config.max_iters, config.lr_decay_iters, config.eval_interval) == (110, 110, 110)
    assert (config.block_size, config.data_order) == (64, "shuffle")  # the context of nanoGPT's CPU command


def test_gpu_speedrun_is_cpu_best_with_a_larger_model() -> None:
    small, large = preset("cpu-best"), preset("gpu-speedrun")
    same = ("arch", "block_size", "batch_size", "ngram_order", "ngram_rows", "optimizer", "lr_schedule")
    same += ("learning_rate", "ngram_lr", "embedding_lr", "head_lr", "max_iters", "lr_decay_iters")
    assert [getattr(large, name) for name in same] == [getattr(small, name) for name in same]
    assert large.n_layer * large.n_embd**2 > 1.5 * small.n_layer * small.n_embd**2
    assert large.compile is False


def test_shakespeare_char_is_nanogpts_baby_gpt() -> None:
    config = preset("shakespeare-char")
    assert (config.n_layer, config.n_head, config.n_embd, config.dropout) == (6, 6, 384, 0.2)
    assert (config.block_size, config.batch_size, config.gradient_accumulation_steps) == (256, 64, 1)
    assert (config.max_iters, config.lr_decay_iters, config.warmup_iters) == (5000, 5000, 100)
    assert (config.learning_rate, config.min_lr, config.beta2) == (1e-3, 1e-4, 0.99)
    assert (config.eval_interval, config.eval_iters) == (250, 200)
    assert (config.log_interval, config.always_save_checkpoint) == (10, False)


@pytest.mark.parametrize(
    ("name", "n_layer", "n_head", "n_embd"),
    [
        ("gpt2-124m", 12, 12, 768),
        ("gpt2-medium", 24, 16, 1024),
        ("gpt2-large", 36, 20, 1280),
        ("gpt2-xl", 48, 25, 1600),
    ],
)
def test_gpt2s_sizes(name: str, n_layer: int, n_head: int, n_embd: int) -> None:
    config = preset(name)
    assert (config.n_layer, config.n_head, config.n_embd, config.block_size) == (
        n_layer,
        n_head,
        n_embd,
        1024,
    )
    tokens_per_iteration = config.batch_size * config.block_size * config.gradient_accumulation_steps
    assert 450_000 < tokens_per_iteration < 550_000  # GPT-2's half a million
    assert config.gradient_accumulation_steps % 8 == 0  # divides over the eight GPUs of one node


def test_finetuning_starts_from_the_released_weights() -> None:
    config = preset("finetune-gpt2")
    assert (config.init_from, config.bias, config.decay_lr, config.learning_rate) == (
        "gpt2",
        True,
        False,
        3e-5,
    )


@pytest.mark.parametrize(
    ("device", "vocab_size", "tokens", "name"),
    [
        ("cpu", 65, 20_000, "cpu-tiny"),
        ("cpu", 65, 100_000, "cpu-speedrun"),
        ("cpu", 65, 1_000_000, "cpu-best"),
        ("cpu", 50257, 1_000_000, "cpu-best"),
        ("cuda", 65, 1_000_000, "shakespeare-char"),
        ("mps", 256, 1_000_000, "shakespeare-char"),
        ("cuda", 50257, 20_000, "gpt2-124m"),
    ],
)
def test_the_choice_for_a_device_and_a_text_is_one_that_exists_and_has_a_reason(
    device: str, vocab_size: int, tokens: int, name: str
) -> None:
    chosen, reason = choose_preset(device, vocab_size, train_tokens=tokens, val_tokens=tokens // 10)
    assert chosen == name
    assert chosen in preset_names()
    assert reason


def test_a_chosen_context_fits_into_the_val_split() -> None:
    for val_tokens in (256, 257):
        chosen, _ = choose_preset("cpu", 65, train_tokens=10**6, val_tokens=val_tokens)
        assert preset(chosen).block_size < val_tokens
    assert chosen == "cpu-best"


@pytest.mark.parametrize("given", ["n_layer", "arch", "optimizer", "learning_rate", "init_from"])
def test_who_describes_a_model_gets_nanogpts_other_numbers(given: str) -> None:
    def chosen(*names: str) -> tuple[str, str]:
        return choose_preset("cpu", 65, train_tokens=10**6, val_tokens=10**5, given=names)

    name, reason = chosen("seed", given)
    assert name == "cpu-tiny"
    assert reason.startswith(f"{given} is set")
    assert chosen("seed", "batch_size", "max_iters")[0] == "cpu-best"

"""Our GPT-2 against transformers' GPT2LMHeadModel, an implementation written by others."""

import math
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from nanogpt_cli.engine.interop.hf import export_hf, from_hf, load_gpt2, to_hf
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.models.registry import build_model

SHAPES = [
    pytest.param({"n_layer": 1, "n_head": 1, "n_embd": 16, "vocab_size": 11, "block_size": 5}, id="one-head"),
    pytest.param({"n_layer": 2, "n_head": 2, "n_embd": 24, "vocab_size": 37, "block_size": 12}, id="two"),
    pytest.param({"n_layer": 3, "n_head": 4, "n_embd": 32, "vocab_size": 65, "block_size": 9}, id="three"),
]
ACTIVATIONS = ["gelu", "gelu_new"]


def make(bias: bool = True, activation: str = "gelu", **shape: int) -> GPT2:
    """Our model with every weight random: fresh biases and norms, zeros and ones, would prove nothing."""
    defaults = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 13, "block_size": 8}
    model = GPT2(GPT2Config(**{**defaults, **shape}, bias=bias, activation=activation))
    randomise(model)
    return model.eval()


def reference(activation: str, **shape: int) -> transformers.GPT2LMHeadModel:
    """Theirs, with the attention written out (eager), random in every weight."""
    config = transformers.GPT2Config(
        n_positions=shape["block_size"],
        **{name: shape[name] for name in ("vocab_size", "n_layer", "n_head", "n_embd")},
        activation_function=activation,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config)
    randomise(model)
    return model.eval()


def randomise(model: torch.nn.Module) -> None:
    """Weights far from their initial values, scaled so that every nonlinearity is at work."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.3)


def tokens(shape: dict[str, int], rows: int = 3) -> tuple[Tensor, Tensor]:
    drawn = torch.randint(shape["vocab_size"], (rows, shape["block_size"] + 1))
    return drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(left: Tensor, right: Tensor) -> None:
    """Equal to float32's last digits, measured against the largest entry."""
    torch.testing.assert_close(left, right, rtol=0, atol=2e-5 * max(1.0, float(right.detach().abs().max())))


# --- Equal to transformers


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_imported_weights_give_the_same_logits_loss_and_gradients(
    shape: dict[str, int], activation: str
) -> None:
    theirs = reference(activation, **shape)
    config = GPT2Config(**shape, bias=True, activation=activation)
    ours = build_model(config, from_hf(dict(theirs.state_dict())))
    inputs, targets = tokens(shape)

    their_logits = theirs(input_ids=inputs).logits
    their_loss = torch.nn.functional.cross_entropy(their_logits.flatten(0, 1), targets.flatten())
    our_logits, our_loss = ours(inputs, targets)
    assert_close(our_logits, their_logits)
    assert_close(our_loss, their_loss)

    their_loss.backward()
    our_loss.backward()
    expected, found = from_hf(gradients(theirs)), gradients(ours)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert float(gradient.abs().max()) > 0, f"{name} has no gradient: nothing would be compared"
        assert_close(found[name], gradient)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_exported_folder_loads_in_transformers_with_the_same_logits(
    shape: dict[str, int], activation: str, bias: bool, tmp_path: Path
) -> None:
    ours = make(bias=bias, activation=activation, **shape)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(export_hf(ours, tmp_path / "export")).eval()
    inputs, targets = tokens(shape)
    assert_close(ours(inputs, targets)[0], theirs(input_ids=inputs).logits)
    if not bias:
        zeros = [p for name, p in theirs.named_parameters() if name.endswith("bias")]
        assert zeros
        assert all(not p.any() for p in zeros)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_folder_written_by_transformers_loads_here(activation: str, tmp_path: Path) -> None:
    shape = SHAPES[1].values[0]
    theirs = reference(activation, **shape)
    theirs.save_pretrained(tmp_path / "theirs")
    config, weights = load_gpt2(str(tmp_path / "theirs"))
    assert config.activation == activation
    inputs, targets = tokens(shape)
    assert_close(build_model(config, weights)(inputs, targets)[0], theirs(input_ids=inputs).logits)


def test_weights_of_the_bare_gpt2_and_old_mask_buffers_are_understood() -> None:
    """The hub's openai-community/gpt2 has no `transformer.` prefix, and `attn.bias` in it is a mask."""
    ours = make()
    exported = to_hf(ours)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in exported.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    bare["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    back = from_hf(bare)
    expected = {name: p for name, p in ours.state_dict().items() if name != "lm_head.weight"}
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], expected[name]) for name in expected)


# --- Forward


def test_initial_loss_is_a_blind_guess() -> None:
    """Logits of a fresh model have a standard deviation of about 0.02 · √n_embd = 0.11, so ln(V) ± 0.05."""
    config = GPT2Config(vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=32)
    inputs, targets = tokens({"vocab_size": 65, "block_size": 32}, rows=16)
    _, loss = GPT2(config)(inputs, targets)
    assert loss.item() == pytest.approx(math.log(65), abs=0.05)


def test_a_token_changes_no_logits_before_it() -> None:
    model = make()
    inputs, targets = tokens({"vocab_size": 13, "block_size": 8}, rows=2)
    before = model(inputs, targets)[0]
    for position in range(8):
        changed = inputs.clone()
        changed[:, position] = (changed[:, position] + 1) % 13
        after = model(changed, targets)[0]
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=1e-6)
        assert not torch.allclose(after[:, position:], before[:, position:], atol=1e-2)


def test_without_targets_only_the_last_logits_come_back() -> None:
    model = make()
    inputs, targets = tokens({"vocab_size": 13, "block_size": 8})
    last, loss = model(inputs)
    assert loss is None
    assert last.shape == (3, 1, 13)
    assert_close(last[:, 0], model(inputs, targets)[0][:, -1])


def test_a_target_of_minus_one_is_not_counted() -> None:
    model = make()
    inputs, targets = tokens({"vocab_size": 13, "block_size": 8}, rows=1)
    logits, _ = model(inputs, targets)
    expected = -logits.log_softmax(dim=2)[0, 3, targets[0, 3]]
    masked = torch.full_like(targets, -1)
    masked[0, 3] = targets[0, 3]
    assert_close(model(inputs, masked)[1], expected)


def test_bfloat16_autocast_stays_close_to_float32() -> None:
    """bfloat16 keeps 8 bits: two layers of it err by a few hundredths of the logits' scale."""
    model = make(n_embd=32)
    inputs, targets = tokens({"vocab_size": 13, "block_size": 8}, rows=4)
    full, loss = model(inputs, targets)
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, half_loss = model(inputs, targets)
    assert half.dtype == torch.bfloat16
    half_loss.backward()
    assert (half.float() - full).abs().max().item() < 0.05 * full.abs().max().item()
    assert half_loss.item() == pytest.approx(loss.item(), rel=0.02)
    for name, gradient in gradients(model).items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert float(error) < 0.1, name


def test_dropout_works_in_training_only() -> None:
    config = GPT2Config(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16, dropout=0.5)
    model = GPT2(config)
    inputs, targets = tokens({"vocab_size": 13, "block_size": 8})
    assert not torch.equal(model(inputs, targets)[0], model(inputs, targets)[0])
    model.eval()
    assert torch.equal(model(inputs, targets)[0], model(inputs, targets)[0])


# --- Parameters


def test_parameter_names_are_nanogpts() -> None:
    """The keys of nanoGPT's `GPT(GPTConfig(n_layer=1, bias=True)).state_dict()`."""
    config = GPT2Config(vocab_size=13, block_size=8, n_layer=1, n_head=2, n_embd=16, bias=True)
    assert list(GPT2(config).state_dict()) == [
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.h.0.ln_1.weight",
        "transformer.h.0.ln_1.bias",
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.0.attn.c_attn.bias",
        "transformer.h.0.attn.c_proj.weight",
        "transformer.h.0.attn.c_proj.bias",
        "transformer.h.0.ln_2.weight",
        "transformer.h.0.ln_2.bias",
        "transformer.h.0.mlp.c_fc.weight",
        "transformer.h.0.mlp.c_fc.bias",
        "transformer.h.0.mlp.c_proj.weight",
        "transformer.h.0.mlp.c_proj.bias",
        "transformer.ln_f.weight",
        "transformer.ln_f.bias",
        "lm_head.weight",
    ]


def test_initialisation_is_gpt2s() -> None:
    """The sample deviation of n draws errs by σ/√(2n): each n here is over 8,000, so 5 % is 6 deviations."""
    n_layer = 3
    config = GPT2Config(vocab_size=128, block_size=128, n_layer=n_layer, n_head=2, n_embd=96, bias=True)
    for name, parameter in GPT2(config).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "ln_" in name:
            assert bool((parameter == 1).all()), name
        else:
            std = 0.02 / math.sqrt(2 * n_layer) if name.endswith("c_proj.weight") else 0.02
            assert parameter.numel() > 8000
            assert parameter.std().item() == pytest.approx(std, rel=0.05), name
            assert abs(parameter.mean().item()) < 6 * std / math.sqrt(parameter.numel()), name


def test_head_is_the_embedding() -> None:
    model = make()
    assert model.lm_head.weight is model.transformer.wte.weight
    stored = {name: p for name, p in model.state_dict().items() if name != "lm_head.weight"}
    rebuilt = build_model(model.config, stored)
    assert rebuilt.lm_head.weight is rebuilt.transformer.wte.weight


def test_num_params_of_nanogpts_cpu_model() -> None:
    """4 blocks of 196,864, wte 65 · 128, ln_f 128: nanoGPT prints 0.80M."""
    model = GPT2(GPT2Config(vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128))
    assert model.num_params() == 795_904
    assert f"{model.num_params() / 1e6:.2f}M" == "0.80M"

"""Muon: the orthogonal update against an SVD, the groups, the rates, and AdamW beside it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nanogpt_cli.config.schema import cautions
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig
from nanogpt_cli.engine.muon import MuonAdamW, build_muon, momentum_at, orthogonalize
from nanogpt_cli.engine.optim import set_rates
from tests.engine.tiny import build_trainer, tiny_config

MUON: dict[str, Any] = {"optimizer": "muon", "learning_rate": 0.02, "min_lr": 0.0, "weight_decay": 0.0}


@pytest.mark.parametrize("shape", [(6, 6), (4, 16), (16, 4), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_about_the_nearest_orthogonal_matrix(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    u, _, vt = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    spread = torch.linspace(0.3, 1.0, min(shape))  # singular values that five rounds bring near one
    found = orthogonalize(u * spread @ vt, dtype)
    singular = torch.linalg.svdvals(found)
    assert float(singular.min()) > 0.6
    assert float(singular.max()) < 1.3
    cosine = nn.functional.cosine_similarity(found.flatten(1), (u @ vt).flatten(1))
    assert float(cosine.min()) > 0.95


def test_a_stack_is_the_same_as_one_by_one() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(5, 8, 3)
    together = orthogonalize(matrices, torch.float32)
    alone = torch.cat([orthogonalize(matrix[None], torch.float32) for matrix in matrices])
    torch.testing.assert_close(together, alone)
    assert torch.isfinite(orthogonalize(torch.zeros(1, 4, 4), torch.float32)).all()


def model() -> NanoChat:
    torch.manual_seed(0)
    return NanoChat(NanoChatConfig(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16))


def test_which_parameter_is_whose() -> None:
    net = model()
    optimizer = build_muon(net, tiny_config(**MUON), ns_dtype=torch.float32, fused=True)
    muon, embedding, head = optimizer.param_groups
    assert len(muon["params"]) == 2 * 6
    assert [id(p) for p in embedding["params"]] == [id(net.model.embed_tokens.weight)]
    assert [id(p) for p in head["params"]] == [id(net.lm_head.weight)]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(net.parameters()))


def test_rates_follow_one_schedule_in_their_own_proportions() -> None:
    config = tiny_config(**MUON, embedding_lr=0.3, head_lr=0.005, warmup_iters=0, lr_decay_iters=20)
    optimizer = build_muon(model(), config, ns_dtype=torch.float32, fused=True)
    for iter_num in (0, 7, 19, 20):
        rate = set_rates(optimizer, iter_num, config)
        muon, embedding, head = (group["lr"] for group in optimizer.param_groups)
        assert (muon, embedding, head) == pytest.approx((rate, 15 * rate, 0.25 * rate))
    assert momentum_at(0, config) == 0.85
    assert momentum_at(150, config) == pytest.approx(0.90)
    assert momentum_at(10**6, config) == pytest.approx(0.95)


def test_one_step_against_the_published_rule() -> None:
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(8, 4))
    before, gradient = weight.detach().clone(), torch.randn(8, 4)
    group = {"params": [weight], "kind": "muon", "momentum": 0.9, "lr": 0.1, "weight_decay": 0.5}
    optimizer = MuonAdamW([group], ns_dtype=torch.float32, fused=False)
    weight.grad = gradient
    optimizer.step()
    buffer = 0.1 * gradient
    nesterov = 0.1 * gradient + 0.9 * buffer
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 2**0.5 * orthogonalize(nesterov[None], torch.float32)[0]
    torch.testing.assert_close(weight.detach(), expected)
    torch.testing.assert_close(optimizer.state[weight]["momentum_buffer"], buffer)


def test_the_rest_is_torchs_adamw() -> None:
    config = tiny_config(**MUON, beta1=0.8, beta2=0.95, warmup_iters=0)
    ours, reference = model(), model()
    optimizer = build_muon(ours, config, ns_dtype=torch.float32, fused=True)
    adamw = torch.optim.AdamW(
        [reference.lm_head.weight], lr=config.head_lr, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0
    )
    for step in range(3):
        for net in (ours, reference):
            net.lm_head.weight.grad = torch.full_like(net.lm_head.weight, 0.1 * (step + 1))
        optimizer.step()
        adamw.step()
    torch.testing.assert_close(ours.lm_head.weight, reference.lm_head.weight)


def test_it_learns_at_least_as_well_as_adamw(tmp_path: Path) -> None:
    losses = {}
    for name, changes in (("muon", MUON), ("adamw", {"learning_rate": 1e-2})):
        trainer = build_trainer(tmp_path / name, tiny_config(max_iters=60, lr_decay_iters=60, **changes))
        trainer.run()
        losses[name] = trainer.state.val_loss or 99.0
    assert losses["muon"] < losses["adamw"] + 0.1
    assert losses["muon"] < 2.3  # ln 13 = 2.56 is knowing nothing


def test_adamws_rate_is_questioned() -> None:
    assert any("suits AdamW" in text for text in cautions(tiny_config(optimizer="muon", learning_rate=6e-4)))
    assert not any("suits AdamW" in text for text in cautions(tiny_config(**MUON)))

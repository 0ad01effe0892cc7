"""Tables moved by rows: against the definition written with a dense gradient, and what must not move."""

import dataclasses

import pytest
import torch
from torch import Tensor

from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig
from nanogpt_cli.engine.models.ngrams import Lookup, NGramEmbedding
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.optim import build_optimizer
from nanogpt_cli.engine.table_rows import update_rows
from tests.engine.tiny import VOCAB_SIZE, cpu_hardware, tiny_config

SHAPE = NanoChatConfig(
    vocab_size=VOCAB_SIZE, block_size=12, n_layer=1, n_head=2, n_embd=8, ngram_order=3, ngram_rows=11
)


def looked_up(rows: Tensor, gradient: Tensor) -> Lookup:
    found = torch.zeros_like(gradient, requires_grad=True)
    (found * gradient).sum().backward()
    return Lookup(rows, found)


def test_a_row_moves_by_the_sum_of_its_tokens_gradients_over_the_batchs_rms() -> None:
    torch.manual_seed(0)
    weight, rows, gradient = torch.randn(20, 4), torch.randint(0, 20, (50, 3)), torch.randn(50, 4)
    dense = torch.zeros(20, 4)
    for token in range(50):
        for row in rows[token]:
            dense[row] += gradient[token]
    expected = weight - 0.3 * dense / gradient.square().mean().sqrt()
    update_rows(weight, [looked_up(rows, gradient)], lr=0.3, dist=Distributed())
    assert torch.allclose(weight, expected, atol=1e-5)


def test_micro_batches_are_one_batch() -> None:
    torch.manual_seed(1)
    rows, gradient = torch.randint(0, 20, (30, 2)), torch.randn(30, 4)
    whole, parts = torch.zeros(20, 4), torch.zeros(20, 4)
    update_rows(whole, [looked_up(rows, gradient)], lr=1.0, dist=Distributed())
    pieces = [looked_up(rows[part], gradient[part]) for part in (slice(0, 10), slice(10, 30))]
    update_rows(parts, pieces, lr=1.0, dist=Distributed())
    assert torch.equal(whole, parts)


def test_the_size_of_the_loss_does_not_matter() -> None:
    """So float16's loss scaling needs no undoing here."""
    torch.manual_seed(2)
    rows, gradient = torch.randint(0, 20, (30, 2)), torch.randn(30, 4)
    plain, scaled = torch.zeros(20, 4), torch.zeros(20, 4)
    update_rows(plain, [looked_up(rows, gradient)], lr=0.1, dist=Distributed())
    update_rows(scaled, [looked_up(rows, 65536 * gradient)], lr=0.1, dist=Distributed())
    assert torch.allclose(plain, scaled)


@pytest.mark.parametrize("gradient", [None, torch.zeros(6, 4)], ids=["none", "zeros"])
def test_without_a_gradient_nothing_moves(gradient: Tensor | None) -> None:
    rows = torch.arange(6)[:, None]
    weight = torch.ones(20, 4)
    lookup = Lookup(rows, torch.zeros(6, 4)) if gradient is None else looked_up(rows, gradient)
    update_rows(weight, [lookup], lr=1.0, dist=Distributed())
    assert torch.equal(weight, torch.ones(20, 4))


@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
def test_the_models_gradient_reaches_the_tables(optimizer_name: str) -> None:
    """The same model with an ordinary embedding in the tables' place gives the gradient to compare with."""
    torch.manual_seed(3)
    config = tiny_config(arch="nanochat", optimizer=optimizer_name, ngram_order=3, ngram_lr=0.4)
    model = new_model(SHAPE)
    assert isinstance(model, NanoChat)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tables = model.model.ngrams
    assert tables is not None
    idx = torch.randint(0, VOCAB_SIZE, (3, 12))
    before = tables.weight.clone()
    optimizer = build_optimizer(model, config, cpu_hardware())
    model(idx, idx)[1].backward()
    rows = tables.lookups[0].rows

    twin = new_model(dataclasses.replace(SHAPE, ngram_order=0))
    twin.load_state_dict({name: w for name, w in model.state_dict().items() if "ngrams" not in name})
    dense = before.clone().requires_grad_()
    twin.model.ngrams = _Dense(dense, rows)
    twin(idx, idx)[1].backward()
    per_token = tables.lookups[0].found.grad
    assert per_token is not None

    optimizer.step()
    expected = before - 0.4 * dense.grad / per_token.square().mean().sqrt()
    assert torch.allclose(tables.weight, expected, atol=1e-5)
    assert tables.weight.grad is None
    assert tables.weight not in optimizer.state
    optimizer.zero_grad()
    assert tables.lookups == []


class _Dense(torch.nn.Module):
    def __init__(self, weight: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.rows = rows

    def forward(self, idx: Tensor) -> Tensor:
        return self.weight[self.rows].sum(1).view(*idx.shape, -1)


def test_no_lookup_is_kept_where_nothing_is_learnt() -> None:
    embedding = NGramEmbedding(3, 97, 4)
    idx = torch.randint(0, 50, (2, 9))
    embedding.eval()(idx)
    with torch.no_grad():
        embedding.train()(idx)
    assert embedding.lookups == []
    embedding(idx)
    assert len(embedding.lookups) == 1


def test_a_models_zero_grad_forgets_lookups() -> None:
    model = new_model(SHAPE)
    idx = torch.randint(0, VOCAB_SIZE, (1, 12))
    model(idx, idx)
    model.zero_grad()
    assert all(not tables.lookups for tables in model.lookup_tables())

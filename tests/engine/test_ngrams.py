"""Hashed n-gram embeddings: what they see, what they change, and that every path agrees on them."""

import dataclasses

import numpy as np
import pytest
import torch

from nanogpt_cli.config.schema import contradictions
from nanogpt_cli.engine.generate import generate
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig
from nanogpt_cli.engine.models.ngrams import NGramEmbedding
from nanogpt_cli.engine.models.registry import new_model
from tests.engine.tiny import VOCAB_SIZE, cpu_hardware, tiny_config

SHAPE = NanoChatConfig(
    vocab_size=VOCAB_SIZE, block_size=12, n_layer=2, n_head=2, n_embd=8, ngram_order=4, ngram_rows=97
)


def trained_like(config: NanoChatConfig) -> NanoChat:
    """A model with weights as after some training: nothing is zero."""
    torch.manual_seed(3)
    model = new_model(config)
    assert isinstance(model, NanoChat)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def table(order: int, rows: int = 1009) -> NGramEmbedding:
    torch.manual_seed(0)
    found = NGramEmbedding(order, rows, 4)
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter)
    return found


def test_equal_strings_have_equal_embeddings_wherever_they_stand() -> None:
    embedding = table(3)
    x = embedding(torch.tensor([[5, 1, 2, 3, 9, 1, 2, 3]]))[0]
    assert torch.equal(x[3], x[7])  # "1 2 3", whatever came before
    assert not torch.equal(x[1], x[5])  # "5 1" is not "9 1"


def test_the_order_of_tokens_counts() -> None:
    x = table(2)(torch.tensor([[4, 7], [7, 4]]))
    assert not torch.allclose(x[0, 1], x[1, 1])


@pytest.mark.parametrize("order", [2, 3, 5])
def test_no_token_sees_what_follows(order: int) -> None:
    embedding = table(order)
    idx = torch.randint(0, 50, (2, 9))
    changed = idx.clone()
    changed[:, 6:] = 51
    assert torch.equal(embedding(idx)[:, :6], embedding(changed)[:, :6])


@pytest.mark.parametrize("cut", [1, 2, 5, 8])
def test_a_text_in_two_pieces_is_the_text(cut: int) -> None:
    embedding = table(4)
    idx = torch.randint(0, 50, (2, 9))
    before = torch.cat((embedding.nothing_before(idx), idx[:, :cut]), dim=1)[:, -3:]
    pieces = torch.cat((embedding(idx[:, :cut]), embedding(idx[:, cut:], before)), dim=1)
    assert torch.equal(pieces, embedding(idx))


def test_strings_spread_evenly_over_the_rows() -> None:
    """Ten thousand pairs into 1024 rows: no row may hold many times its share, for a power of two as well."""
    embedding = NGramEmbedding(2, 1024, 1)
    pairs = torch.cartesian_prod(torch.arange(100), torch.arange(100))
    embedding(pairs)
    hits = embedding.lookups[0].rows.view(10_000, 2)[:, 1].bincount(minlength=1024)
    assert hits.sum() == 10_000
    assert hits.max() < 30
    assert (hits == 0).sum() < 5


def test_a_new_model_ignores_its_tables() -> None:
    plain = dataclasses.replace(SHAPE, ngram_order=0)
    torch.manual_seed(1)
    without = new_model(plain)
    torch.manual_seed(1)
    with_tables = new_model(SHAPE)
    weights = with_tables.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in without.state_dict().items())
    assert all(not tensor.any() for name, tensor in weights.items() if "ngrams" in name)
    assert without.num_matmul_params() == with_tables.num_matmul_params()


def test_writing_token_by_token_equals_the_whole_pass() -> None:
    model = trained_like(SHAPE)
    prompt = np.array([1, 5, 2])
    options = {"max_new_tokens": 8, "hardware": cpu_hardware(), "vocab_size": VOCAB_SIZE, "temperature": 0.0}
    written = list(generate(model, prompt, **options))
    text = torch.from_numpy(prompt)[None]
    for token in written:
        with torch.no_grad():
            logits, _ = model(text)
        assert int(logits[0, -1].argmax()) == token
        text = torch.cat((text, torch.tensor([[token]])), dim=1)


def test_dropout_withholds_the_n_grams_of_some_tokens_in_training_alone() -> None:
    torch.manual_seed(0)
    embedding = NGramEmbedding(3, 97, 4, dropout=0.3)
    for parameter in embedding.parameters():
        torch.nn.init.normal_(parameter)
    idx = torch.randint(0, 50, (20, 100))
    whole = embedding.eval()(idx)
    some = embedding.train()(idx)
    kept = some.any(dim=2)
    assert torch.equal(some[kept], whole[kept])
    assert 0.66 < float(kept.float().mean()) < 0.74


def test_gpt2_has_none() -> None:
    [(problem, advice)] = contradictions(tiny_config(ngram_order=3))
    assert "GPT-2" in problem
    assert "--arch nanochat" in advice
    assert contradictions(tiny_config(arch="nanochat", ngram_order=3)) == []

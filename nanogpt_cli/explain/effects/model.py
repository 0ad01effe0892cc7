"""The model's shape: where its parameters are, and what they cost."""

from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Effect, RunCase, Sentence, say, warn

_NARROW_HEAD, _WIDE_HEAD = 32, 128  # GPT-2, GPT-3 and Llama have 64 to 128
# Muennighoff et al. 2023, "Scaling Data-Constrained Language Models": up to about four passes repeated text
# is worth nearly as much as new text.
_HARMLESS_EPOCHS: Final = 4.0
# One pass of a text that is much larger than the model: it cannot be learnt by heart.
_ROOMY_TOKENS_PER_PARAM: Final = 5.0


def arch(case: RunCase) -> Iterator[Sentence]:
    """Which family it is."""
    yield say(case.config.arch)


def n_layer(case: RunCase) -> Iterator[Sentence]:
    """What the blocks weigh."""
    found, layers = case.forecast, case.config.n_layer
    yield say(
        "share",
        layers=layers,
        per_block=found.n_block_params,
        blocks=layers * found.n_block_params,
        share=layers * found.n_block_params / found.n_params_total,
    )
    if found.n_params_total == found.n_params:
        yield say("total", n_params=found.n_params)
    else:
        positions = found.n_params_total - found.n_params
        yield say("positions", n_params=found.n_params, total=found.n_params_total, positions=positions)


def n_head(case: RunCase) -> Iterator[Sentence]:
    """How wide a head is."""
    size = case.forecast.head_size
    kind = "narrow" if size < _NARROW_HEAD else "wide" if size > _WIDE_HEAD else "usual"
    yield say(kind, heads=case.config.n_head, width=case.config.n_embd, size=size)


def n_embd(case: RunCase) -> Iterator[Sentence]:
    """What width costs, in the blocks and in the vocabulary's table."""
    found = case.forecast
    yield say("square", per_block=found.n_block_params)
    share = found.n_vocab_params / found.n_params_total
    kind = "table" if case.config.arch == "gpt2" else "tables"
    yield say(
        kind, vocab=found.vocab_size, width=case.config.n_embd, params=found.n_vocab_params, share=share
    )


def dropout(case: RunCase) -> Iterator[Sentence]:
    """Whether the text is repeated so often that something must be forgotten."""
    rate, epochs = case.config.dropout, case.epochs
    if not case.trains:
        yield say("nothing", rate=rate)
        return
    unique = case.forecast.train_tokens / case.forecast.n_params
    repeated = epochs > _HARMLESS_EPOCHS and unique < _ROOMY_TOKENS_PER_PARAM
    numbers = {"rate": rate, "epochs": epochs, "unique": unique}
    if rate == 0:
        yield warn("none_repeated", **numbers) if repeated else say("none", **numbers)
    elif repeated or case.pretrained:
        yield say("some_repeated", **numbers)
    else:
        yield say("some", **numbers)


def bias(case: RunCase) -> Iterator[Sentence]:
    """How many parameters the biases are."""
    if case.config.arch == "nanochat":
        yield warn("ignored") if case.config.bias else say("nanochat")
    elif case.config.bias:
        yield say(
            "on",
            params=case.forecast.n_bias_params,
            share=case.forecast.n_bias_params / case.forecast.n_params_total,
        )
    else:
        yield say("off")


def ngram_order(case: RunCase) -> Iterator[Sentence]:
    """What the n-gram tables weigh."""
    order, rows, params = case.config.ngram_order, case.config.ngram_rows, case.config.ngram_params
    if params:
        yield say(
            "tables", order=order, rows=rows, params=params, share=params / case.forecast.n_params_total
        )
    else:
        yield say("none")


def ngram_rows(case: RunCase) -> Iterator[Sentence]:
    """What the tables weigh together."""
    params = case.config.ngram_params
    yield say("used", params=params) if params else say("unused")


def ngram_dropout(case: RunCase) -> Iterator[Sentence]:
    """How much is withheld."""
    rate = case.config.ngram_dropout
    if not case.config.ngram_params:
        yield say("unused")
    else:
        yield say("some", rate=rate) if rate else say("none")


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect
    for effect in (arch, n_layer, n_head, n_embd, dropout, bias, ngram_order, ngram_rows, ngram_dropout)
}

"""The run and its data: what is read, how often, and how much of it at once."""

import math
from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Bytes, Effect, RunCase, Seconds, Sentence, say, warn

# Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models" (Chinchilla): about 20 tokens for
# each parameter. Far from it is worth a word, no warning: it is no law, least of all for tiny models.
_FEW_TOKENS_PER_PARAM: Final = 10
_MANY_TOKENS_PER_PARAM: Final = 60
_TOO_LONG_SECONDS: Final = 60 * 86_400  # hardly anybody means to wait for months
_SMALL_FOR_GPU: Final = 4096  # tokens of a micro-batch, below which a GPU mostly waits for work


def out_dir(case: RunCase) -> Iterator[Sentence]:
    """Where it would write."""
    yield say("where", run_dir=case.forecast.run_dir)


def init_from(case: RunCase) -> Iterator[Sentence]:
    """What the weights are at the beginning."""
    if case.forecast.resumed_from_iter is not None:
        yield say("resume", iter=case.forecast.resumed_from_iter)
    elif case.pretrained:
        yield say("pretrained", name=case.config.init_from)
    else:
        yield say("scratch", vocab=case.forecast.vocab_size, loss=case.blind_loss)


def max_iters(case: RunCase) -> Iterator[Sentence]:
    """Tokens, epochs, tokens per parameter."""
    if not case.trains:
        yield say("nothing")
        return
    yield say(
        "tokens",
        iters=case.config.max_iters,
        per_iter=case.tokens_per_iter,
        tokens=case.tokens,
        epochs=case.epochs,
        train_tokens=case.forecast.train_tokens,
    )
    if case.forecast.resumed_from_iter is not None:
        yield say("left", left=case.iters_left)
    if case.total_seconds > _TOO_LONG_SECONDS:
        yield warn("too_long", all=Seconds(case.total_seconds))
    if case.pretrained:
        return
    ratio = case.tokens_per_param
    kind = "few" if ratio < _FEW_TOKENS_PER_PARAM else "many" if ratio > _MANY_TOKENS_PER_PARAM else "near"
    yield say(f"ratio_{kind}", ratio=ratio, n_params=case.forecast.n_params)


def eval_only(case: RunCase) -> Iterator[Sentence]:
    """Whether there is training at all."""
    yield say("on" if case.config.eval_only else "off")


def seed(_case: RunCase) -> Iterator[Sentence]:
    """What another one would change."""
    yield say("effect")


def dataset(case: RunCase) -> Iterator[Sentence]:
    """Its size, its vocabulary, and the loss of the simplest model of it."""
    found = case.forecast
    yield say(
        "sizes",
        path=found.dataset_dir,
        train=found.train_tokens,
        val=found.val_tokens,
        tokenizer=found.tokenizer,
    )
    if found.text_vocab_size is None:
        yield say("assumed", vocab=found.vocab_size)
    elif found.vocab_size > found.text_vocab_size:
        yield say("padded", ids=found.text_vocab_size, vocab=found.vocab_size)
    yield say("unigram", loss=found.unigram_loss, blind=case.blind_loss)


def batch_size(case: RunCase) -> Iterator[Sentence]:
    """What is in flight at once, and whether it fits."""
    config, found = case.config, case.forecast
    activations = Bytes(found.activations_bytes)
    yield say(
        "work",
        batch=config.batch_size,
        block=config.block_size,
        tokens=case.micro_tokens,
        activations=activations,
    )
    smaller = config.batch_size > 1
    if not case.fits:
        need, free = Bytes(found.memory_bytes), Bytes(found.available_bytes or 0)
        half, double = config.batch_size // 2, 2 * config.gradient_accumulation_steps
        yield (
            warn("too_big", need=need, free=free, half=half, double=double)
            if smaller
            else warn("too_big_for_one", need=need, free=free)
        )
    elif found.device_type != "cpu" and case.micro_tokens < _SMALL_FOR_GPU:
        yield say("small_for_gpu", tokens=case.micro_tokens)
    elif smaller:
        yield say("halve")


def block_size(case: RunCase) -> Iterator[Sentence]:
    """How far the model sees, and what its length costs."""
    block, found = case.config.block_size, case.forecast
    if found.chars_per_token is None:
        yield say("tokens", block=block)
    elif found.words_per_token is None:
        yield say("chars", block=block, chars=block * found.chars_per_token)
    else:
        words = block * found.words_per_token
        yield say("words", block=block, chars=block * found.chars_per_token, words=words)
    share = found.attention_share
    yield say("attention", share=share, doubled=2 * share / (1 + share), double_block=2 * block)


def gradient_accumulation_steps(case: RunCase) -> Iterator[Sentence]:
    """Tokens of an iteration, worked out."""
    config, world = case.config, case.forecast.world_size
    numbers = {
        "steps": config.gradient_accumulation_steps,
        "batch": config.batch_size,
        "block": config.block_size,
        "tokens": case.tokens_per_iter,
        "sequences": config.batch_size * config.gradient_accumulation_steps,
    }
    if config.gradient_accumulation_steps == 1:
        yield say("one", **numbers)
    else:
        yield say("many", **numbers)
    if world > 1:
        yield say("shared", world=world, each=config.gradient_accumulation_steps // world, **numbers)


def data_order(case: RunCase) -> Iterator[Sentence]:
    """How much of the text is never seen."""
    if case.config.data_order == "shuffle":
        yield say("shuffle", epochs=case.epochs)
    else:
        yield say("random", epochs=case.epochs, unseen=math.exp(-case.epochs))


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect
    for effect in (
        *(out_dir, init_from, max_iters, eval_only, seed),
        *(dataset, batch_size, block_size, gradient_accumulation_steps, data_order),
    )
}

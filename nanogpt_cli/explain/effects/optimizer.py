"""The optimizer: over how much each of its averages looks back, and what it keeps in memory."""

import math
from collections.abc import Iterator
from typing import Final

from nanogpt_cli.explain.effects.case import Bytes, Effect, RunCase, Sentence, say, warn

# nanoGPT raises beta2 to 0.99 for its 16,384 tokens an iteration ("a bit bigger because number of tokens per
# iter is small"), and leaves it at 0.95 for half a million.
_FEW_TOKENS_PER_ITER: Final = 32_768
_SHORT_BETA2: Final = 0.98


def optimizer(case: RunCase) -> Iterator[Sentence]:
    """What it keeps for every weight."""
    yield say(case.config.optimizer, memory=Bytes(case.forecast.optimizer_bytes))


def weight_decay(case: RunCase) -> Iterator[Sentence]:
    """How fast a weight that no gradient holds fades."""
    rate = case.config.weight_decay * case.config.learning_rate
    if rate <= 0:
        yield say("none")
    else:
        yield say("half", half=math.log(2) / rate, iters=case.config.max_iters)


def beta1(case: RunCase) -> Iterator[Sentence]:
    """Over how many gradients the first moment is an average."""
    yield say("window", iters=_window(case.config.beta1))


def beta2(case: RunCase) -> Iterator[Sentence]:
    """Over how many tokens the second moment is an average."""
    iters = _window(case.config.beta2)
    numbers = {"iters": iters, "tokens": iters * case.tokens_per_iter, "per_iter": case.tokens_per_iter}
    yield say("window", **numbers)
    if not case.trains or case.config.optimizer == "muon":  # there it serves embeddings and head alone
        return
    if case.tokens_per_iter <= _FEW_TOKENS_PER_ITER and case.config.beta2 < _SHORT_BETA2:
        yield warn("short", **numbers)
    elif case.tokens_per_iter <= _FEW_TOKENS_PER_ITER:
        yield say("long", **numbers)


def grad_clip(case: RunCase) -> Iterator[Sentence]:
    """Whether one bad batch can throw the weights about."""
    yield say("on" if case.config.grad_clip else "never", limit=case.config.grad_clip)


def muon_momentum(case: RunCase) -> Iterator[Sentence]:
    """Over how many gradients Muon averages."""
    if case.config.optimizer != "muon":
        yield say("unused")
    else:
        yield say("window", iters=_window(case.config.muon_momentum))


def muon_steps(case: RunCase) -> Iterator[Sentence]:
    """What an update costs."""
    if case.config.optimizer != "muon":
        yield say("unused")
    else:
        yield say("rounds", steps=case.config.muon_steps)


def ngram_lr(case: RunCase) -> Iterator[Sentence]:
    """Whether there are tables."""
    yield say("used" if case.config.ngram_params else "unused")


def embedding_lr(case: RunCase) -> Iterator[Sentence]:
    """Whose rate it is."""
    yield say("used" if case.config.optimizer == "muon" else "unused")


def head_lr(case: RunCase) -> Iterator[Sentence]:
    """Whether there is a head of its own."""
    if case.config.optimizer != "muon":
        yield say("unused")
    else:
        yield say("used" if case.config.arch == "nanochat" else "tied")


def on_nonfinite(case: RunCase) -> Iterator[Sentence]:
    """What happens at a NaN."""
    yield say(case.config.on_nonfinite)


def _window(beta: float) -> float:
    """Steps over which an exponential average with this factor mostly looks back."""
    return 1 / (1 - beta)


EFFECTS: Final[dict[str, Effect]] = {
    effect.__name__: effect
    for effect in (
        *(optimizer, weight_decay, beta1, beta2, grad_clip),
        *(muon_momentum, muon_steps, ngram_lr, embedding_lr, head_lr, on_nonfinite),
    )
}

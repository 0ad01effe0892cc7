"""Before a run starts: a warning if it will hardly fit into the memory that is free.

The estimate of `engine.memory` takes a tenth of a second to two seconds. It is made only where a bound,
worked out from the settings alone, does not already say that the run fits.
"""

from typing import Final

from nanogpt_cli.config.schema import AUTO, TrainConfig
from nanogpt_cli.engine.out_of_memory import (
    Attempt,
    cheapest_offers,
    estimator,
    free_for_one,
    in_words,
    local_processes,
)
from nanogpt_cli.events import Reporter, Warned

_FLOAT_BYTES: Final = 4
_OTHER_BYTES: Final = 64 << 20
# Each at least twice what the estimate finds for any preset, in either number format:
_BYTES_PER_PARAM: Final = (
    24  # weights, gradients and two moments are 16; small blocks take 1.3 times their size
)
_WIDTHS_PER_LAYER: Final = 64  # floats a token and layer, in widths of the model: what both passes hold
_SCORES_PER_HEAD: Final = 5  # where attention is not fused: scores, mask, softmax, dropout, and a gradient
_ROWS_PER_TOKEN: Final = 6  # of logits: in two number formats, their softmax and its gradient


def warn_of_memory(attempt: Attempt, reporter: Reporter) -> None:
    """Say what the run needs, what is free and the cheapest change, if it does not fit; else nothing."""
    config, hardware = attempt.config, attempt.hardware
    assert hardware is not None, "the device is chosen first"
    free = free_for_one(hardware, local_processes(attempt.world_size), attempt.free_bytes)
    # Without a training step there is little to hold; and `auto` will find what fits.
    if free is None or config.eval_only or config.batch_size == AUTO:
        return
    if upper_bound(config, attempt.vocab_size) <= free:
        return
    estimate = estimator(attempt.vocab_size, hardware, attempt.world_size)
    needed = estimate(config)
    if needed <= free:
        return
    told = (
        f"this run needs about {in_words(needed)} of memory and {in_words(free)} are free: it may well fail"
    )
    for offer in cheapest_offers(attempt, hardware, estimate, needed, free)[:1]:
        told += f"; {offer.flags} would need about {in_words(offer.n_bytes)} ({offer.why})"
    reporter.emit(Warned(message=told))


def upper_bound(config: TrainConfig, vocab_size: int) -> int:
    """Bytes that one process certainly does not exceed, for any architecture and kind of attention."""
    width = config.n_embd
    tables = 2 * vocab_size + config.block_size
    # A block is 12 width² and at most 13 width of biases and norms; the norm at the end is 2.
    n_params = config.n_layer * (12 * width**2 + 13 * width) + (tables + 2) * width
    a_layer = _WIDTHS_PER_LAYER * width + _SCORES_PER_HEAD * config.n_head * config.block_size
    a_token = config.n_layer * a_layer + _ROWS_PER_TOKEN * vocab_size
    tokens = config.batch_size * config.block_size
    looked_up = 2 * config.ngram_params  # without a gradient and moments
    return _BYTES_PER_PARAM * n_params + _FLOAT_BYTES * (looked_up + tokens * a_token) + _OTHER_BYTES

"""The learning rate at an iteration: linear warm-up, then cosine decay to min_lr, as nanoGPT."""

import math

from nanogpt_cli.config.schema import TrainConfig


def learning_rate(iter_num: int, config: TrainConfig) -> float:
    """The rate used by iteration `iter_num` (Loshchilov & Hutter 2016, https://arxiv.org/abs/1608.03983).

    The warm-up ends one iteration before the full rate, (i + 1) / (warmup_iters + 1), so that iteration 0
    already learns. Beyond lr_decay_iters the rate stays at min_lr.
    """
    if not config.decay_lr:
        return config.learning_rate
    if iter_num < config.warmup_iters:
        return config.learning_rate * (iter_num + 1) / (config.warmup_iters + 1)
    if iter_num >= config.lr_decay_iters:
        return config.min_lr
    progress = (iter_num - config.warmup_iters) / (config.lr_decay_iters - config.warmup_iters)  # 0..1
    return config.min_lr + 0.5 * (1.0 + math.cos(math.pi * progress)) * (config.learning_rate - config.min_lr)

"""The learning rate at an iteration: linear warm-up, then one of four shapes; nanoGPT's is the cosine."""

import math

from nanogpt_cli.config.schema import TrainConfig


def learning_rate(iter_num: int, config: TrainConfig) -> float:
    """The rate used by iteration `iter_num`.

    The warm-up ends one iteration before the full rate, (i + 1) / (warmup_iters + 1), so that iteration 0
    already learns. Then, until lr_decay_iters: `cosine` (Loshchilov & Hutter 2016,
    https://arxiv.org/abs/1608.03983), `linear`, or `wsd`, which holds the rate and falls linearly over the
    last cooldown_fraction (warm-up, stable, decay: Hu et al. 2024, https://arxiv.org/abs/2404.06395). Beyond,
    the rate stays at min_lr. `constant` never decays.
    """
    if not config.decay_lr:
        return config.learning_rate
    if iter_num < config.warmup_iters:
        return config.learning_rate * (iter_num + 1) / (config.warmup_iters + 1)
    if config.lr_schedule == "constant":
        return config.learning_rate
    if iter_num >= config.lr_decay_iters:
        return config.min_lr
    return config.min_lr + _height(iter_num, config) * (config.learning_rate - config.min_lr)


def _height(iter_num: int, config: TrainConfig) -> float:
    """Where the schedule is between min_lr (0) and learning_rate (1), once warm and before its end."""
    end, start = config.lr_decay_iters, config.warmup_iters
    if config.lr_schedule == "wsd":
        start = max(start, end - round(config.cooldown_fraction * end))
        if iter_num < start:
            return 1.0
    progress = (iter_num - start) / (end - start)  # 0..1
    return 1.0 - progress if config.lr_schedule != "cosine" else 0.5 * (1.0 + math.cos(math.pi * progress))

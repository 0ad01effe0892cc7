"""The learning rate at a line, printed or not, and which part of its schedule that is."""

import math

from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.lines.words import Words


def explain_rate(case: Case, words: Words, iter_num: int, printed: float | None) -> str:
    """The rate and its phase; "" where neither the line nor nanoGPT's schedule tells it."""
    known = printed if printed is not None and math.isfinite(printed) else None
    rate = known if known is not None else case.rate.at(iter_num)
    # A rate that was not printed is worth a word only where the settings that make it were.
    if rate is None or (known is None and "learning_rate" not in case.run.config):
        return ""
    say = "lr" if known is not None else "lr_unprinted"
    return words.join([words.say(say, lr=rate), *_phase(case, words, iter_num)])


def _phase(case: Case, words: Words, iter_num: int) -> list[str]:
    """Where nanoGPT's schedule, which is ours by default, stands."""
    warmup, decay, floor = (case.setting(name) for name in ("warmup_iters", "lr_decay_iters", "min_lr"))
    peak = case.setting("learning_rate")
    shape = case.run.config.get("lr_schedule", "cosine")
    if not (case.run.nanogpt_habits or case.ours) or peak is None or shape != "cosine":
        return []
    if not case.rate.decays:
        return words.once("lr_constant")
    if warmup is None or decay is None or floor is None:
        return []
    if iter_num < warmup:
        return [words.say("lr_warming", peak=peak, warmup=int(warmup))]
    if iter_num >= decay:
        return [words.say("lr_at_end", floor=floor, decay=int(decay))]
    share = (iter_num - warmup) / (decay - warmup)
    return [words.say("lr_falling", peak=peak, floor=floor, decay=int(decay), share=100 * share)]

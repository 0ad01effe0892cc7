"""Numbers and endings in words, the same on every screen."""

import unicodedata

from nanogpt_cli.events import RunEnded, SampleDrawn

_ENDINGS = {
    "finished": "finished",
    "eval_only": "evaluated",
    "SIGINT": "interrupted and saved",
    "SIGTERM": "terminated and saved",
    "nonfinite": "diverged",
}
_SIGNS = {"\n": "⏎", "\t": "⇥"}
_JOINERS = "\u200c\u200d"


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `3:25:00`, `2d 04:10:00`: never wider than a clock needs."""
    total = max(0, round(seconds))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{secs:02}"
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def rate(number: float) -> str:
    """`42.1k`, `989T`: three digits and a metric prefix."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            scaled = number / size
            return f"{scaled:.0f}{prefix}" if scaled >= 100 else f"{scaled:.1f}{prefix}"
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def milliseconds(value: float) -> str:
    """Three digits or more: `8.25`, `12.3`, `1204`."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def memory(n_bytes: int) -> str:
    """`512 MiB`, `1.4 GiB`."""
    mebibytes = n_bytes / 2**20
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1000 else f"{mebibytes:.0f} MiB"


def learning_rate(value: float) -> str:
    """`1.0e-3`: a rate is read by its power of ten."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def percent(fraction: float | None) -> str:
    """`5.1%`, or nothing while unknown."""
    return "" if fraction is None else f"{fraction * 100:.1f}%"


def visible(text: str) -> str:
    """Any text on one line and without harm: what moves the cursor or turns the writing is shown as a sign.

    A line break becomes ⏎ and a tab ⇥; other controls, format characters and lone surrogates become �. The
    two joiners stay, without which Persian, Hindi and many emoji fall apart.
    """
    return "".join(_visible(char) for char in text.replace("\r\n", "\n"))


def _visible(char: str) -> str:
    if char in _SIGNS:
        return _SIGNS[char]
    hidden = unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in _JOINERS
    return "�" if hidden else char


def sample_line(event: SampleDrawn) -> str:
    """A sample on one line of any length, the prompt first."""
    return visible((event.prompt + event.text).strip("\r\n"))


def ending_sentence(event: RunEnded) -> str:
    """How the run ended, in one line."""
    ending = _ENDINGS[event.reason]
    if not event.saved:
        ending = ending.removesuffix(" and saved")
    text = f"{ending} after {event.iters} iterations in {duration(event.wall_seconds)}"
    if event.best_val_loss is not None:
        text += f", best val loss {event.best_val_loss:.4f} at iteration {event.best_val_iter}"
    return text

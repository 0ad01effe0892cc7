"""Several runs side by side: what differs in their settings, and which is better at equal cost.

Only what can be compared is. A loss per token means something only for one tokenizer, so runs of different
vocabularies are put in groups of their own, as are bits per byte and nats. Where a group's logs have too few
validation losses their training losses are compared, smoothed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.document import finding_document, run_numbers
from nanogpt_cli.explain.progress import seconds
from nanogpt_cli.explain.records import Run, Scalar
from nanogpt_cli.explain.report import Explanation, visible
from nanogpt_cli.explain.standings import Group, group

SCHEMA_VERSION: Final = 1
# GPT-2's 50,257 tokens, and the same rounded up to a multiple of 64, which only widens the output layer.
_SAME_VOCABULARIES: Final = {50257: 50304}
# An initialisation moves the first loss by 0.1 to 0.3 nats from ln(vocabulary); characters and GPT-2's tokens
# are 6 apart.
_SAME_START_NATS: Final = 0.5
_LARGEST_START: Final = 14.0  # ln of a million tokens; what starts above is broken, and tells no vocabulary
# Where things lie and what they are called says nothing about the training.
_NAMES: Final = frozenset({"out_dir", "wandb_run_name", "wandb_project", "wandb_log", "data_dir", "config"})

# Where a nanoGPT log shows that its defaults hold, these are known without being printed.
_DEFAULTED: Final = (
    *("learning_rate", "batch_size", "block_size", "gradient_accumulation_steps", "max_iters"),
    *("n_layer", "n_head", "n_embd", "dropout", "weight_decay", "beta2", "warmup_iters", "min_lr"),
)


@dataclass(frozen=True)
class Entry:
    """One run of the comparison."""

    name: str  # unique among them
    explanation: Explanation
    tokens: int | None  # seen until the last line
    seconds: float | None
    median_ms: float | None

    @property
    def run(self) -> Run:
        """The run that is compared: the last of its log."""
        return self.explanation.run


@dataclass(frozen=True)
class Comparison:
    """Everything to be said about several runs."""

    entries: tuple[Entry, ...]
    differences: dict[str, tuple[Scalar | None, ...]]  # settings at least two runs tell differently
    groups: tuple[Group, ...]
    alone: tuple[int, ...]  # runs with nothing to compare them with
    cautions: tuple[str, ...]  # units, vocabularies, datasets, smoothed

    @property
    def language(self) -> str:
        """The words' language."""
        return self.entries[0].explanation.language


def compare(explanations: Sequence[Explanation]) -> Comparison:
    """Compare the (last) runs of several logs, in their order."""
    names = _names([explanation.source for explanation in explanations])
    entries = tuple(_entry(name, explanation) for name, explanation in zip(names, explanations, strict=True))
    partition = _partition(entries)
    groups = tuple(found for members in partition if (found := group(explanations, members)) is not None)
    compared = {member for found in groups for member in found.members}
    return Comparison(
        entries=entries,
        differences=_differences(entries),
        groups=groups,
        alone=tuple(i for i in range(len(entries)) if i not in compared),
        cautions=_cautions(entries, partition, groups),
    )


def _names(sources: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart: `baby`, else `b/train.log`, else numbered."""
    paths = [Path(source) for source in sources]
    homes = [p.parent if p.name in {"metrics.jsonl", "train.log"} and p.parent.name else p for p in paths]
    for parts in (1, 2, 3):
        names = [visible("/".join(home.parts[-parts:])) for home in homes]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def _entry(name: str, explanation: Explanation) -> Entry:
    run, log = explanation.run, explanation.log
    clock = seconds(log, run)
    last = run.last_iter
    return Entry(
        name=name,
        explanation=explanation,
        tokens=last * run.tokens_per_iter if last is not None and run.tokens_per_iter else None,
        seconds=clock[-1][1] if clock else run.wall_seconds,
        median_ms=Case(log=log, run=run).median_ms,
    )


# --- settings


def _differences(entries: Sequence[Entry]) -> dict[str, tuple[Scalar | None, ...]]:
    known = [_settings(entry) for entry in entries]
    names = sorted({name for settings in known for name in settings} - _NAMES)
    rows = {name: tuple(settings.get(name) for settings in known) for name in names}
    return {
        name: values for name, values in rows.items() if len({_same(v) for v in values if v is not None}) > 1
    }


def _settings(entry: Entry) -> dict[str, Scalar]:
    """What the log gives, nanoGPT's defaults where they hold, and facts about the run."""
    run = entry.run
    case = Case(log=entry.explanation.log, run=run)
    settings = dict(run.config)
    for name in _DEFAULTED:
        if name not in settings and (value := case.setting(name)) is not None:
            settings[name] = value
    facts = {"n_params": run.n_params, "vocab_size": run.vocab_size, "tokens_per_iter": run.tokens_per_iter}
    settings |= {name: value for name, value in facts.items() if value is not None}
    settings |= {"trainer": run.trainer} | ({"device": run.device} if run.device else {})
    return settings


def _same(value: Scalar) -> Scalar:
    """Equal for what means the same: 1e-3 and 0.001, but not True and 1."""
    return str(value) if isinstance(value, bool) else float(value) if isinstance(value, int) else value


# --- what may be compared


def _partition(entries: Sequence[Entry]) -> list[tuple[int, ...]]:
    """Runs by unit and vocabulary, in the order of their first."""
    parts: list[tuple[int, ...]] = []
    # Bits per byte were made to be compared across tokenizers.
    parts.append(tuple(i for i, entry in enumerate(entries) if entry.run.val_unit == "bpb"))
    nats = [i for i, entry in enumerate(entries) if entry.run.val_unit == "nats"]
    known = sorted({v for i in nats if (v := _vocabulary(entries[i].run)) is not None})
    starts = {v: math.log(v) for v in known if v > 1}
    for i in nats:
        start = _untrained_loss(entries[i].run)
        if _vocabulary(entries[i].run) is not None or start is None:
            continue
        if not any(abs(start - other) < _SAME_START_NATS for other in starts.values()):
            starts[-i - 1] = start  # a vocabulary of unknown size, told from the others by its first loss
    places: dict[int | None, list[int]] = {}
    for i in nats:
        places.setdefault(_place(entries[i].run, starts), []).append(i)
    parts += [tuple(members) for members in places.values()]
    return sorted((part for part in parts if part), key=lambda part: part[0])


def _place(run: Run, starts: Mapping[int, float]) -> int | None:
    """The vocabulary of `starts` that the run seems to have; None where nothing tells it."""
    if (vocabulary := _vocabulary(run)) is not None:
        return vocabulary
    start = _untrained_loss(run)
    if start is None:
        return next(iter(starts)) if len(starts) == 1 else None
    return min(starts, key=lambda key: abs(starts[key] - start))


def _vocabulary(run: Run) -> int | None:
    return None if run.vocab_size is None else _SAME_VOCABULARIES.get(run.vocab_size, run.vocab_size)


def _untrained_loss(run: Run) -> float | None:
    """The loss at iteration 0 of a run from random weights: ln(vocabulary), as nearly as a log tells it."""
    if run.pretrained or run.resuming:
        return None
    first = [e.val_loss for e in run.evals[:1] if e.iter_num == 0]
    first += [p.loss for p in run.iters[:1] if p.iter_num == 0 and p.loss is not None]
    return next((loss for loss in first if 0 < loss < _LARGEST_START), None)


def _cautions(
    entries: Sequence[Entry], partition: Sequence[tuple[int, ...]], groups: Sequence[Group]
) -> tuple[str, ...]:
    found = []
    if len({entry.run.val_unit for entry in entries}) > 1:
        found.append("units")
    if sum(entries[part[0]].run.val_unit == "nats" for part in partition) > 1:
        found.append("vocabularies")
    datasets = {Path(str(d)).name for entry in entries if (d := entry.run.config.get("dataset")) is not None}
    if len(datasets) > 1:
        found.append("datasets")
    smoothing = [
        {entries[i].run.smoothed for i in group.members} for group in groups if group.metric == "train"
    ]
    if any(len(kinds) > 1 for kinds in smoothing):
        found.append("smoothed")
    return tuple(found)


# --- JSON


def comparison_document(comparison: Comparison) -> dict[str, object]:
    """The document of `--json`: runs, differences, groups with their standings, cautions.

    A winner is the name of a run, null where the losses are too close to call; losses stand in the order of
    the group's `runs`, x is in iterations, tokens or seconds.
    """
    entries = comparison.entries
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": [_entry_document(entry) for entry in entries],
        "differences": {name: list(values) for name, values in comparison.differences.items()},
        "groups": [_group_document(entries, group) for group in comparison.groups],
        "alone": [entries[i].name for i in comparison.alone],
        "cautions": list(comparison.cautions),
    }


def _entry_document(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "source": entry.explanation.source,
        "format": entry.explanation.format,
        **run_numbers(entry.run),
        "tokens": entry.tokens,
        "seconds": entry.seconds,
        "median_ms": entry.median_ms,
        "findings": [finding_document(finding) for finding in entry.explanation.findings],
    }


def _group_document(entries: Sequence[Entry], group: Group) -> dict[str, object]:
    names = [entries[i].name for i in group.members]
    return {
        "runs": names,
        "metric": group.metric,
        "unit": group.unit,
        "standings": [
            {
                "axis": standing.axis,
                "x": standing.x,
                "losses": list(standing.losses),
                "winner": None if standing.winner is None else names[standing.winner],
            }
            for standing in group.standings
        ],
        "target": group.target,
        "reached": {axis: list(values) for axis, values in group.reached.items()},
    }

"""`train --explain`: every setting's value, origin and meaning, and what that value does in this run.

The numbers are a dry run's (`events.RunForecast`); `effects/` chooses the sentences, and the catalogue
messages/settings_<language>.toml says them.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

from nanogpt_cli.config.schema import SETTINGS, Setting, TrainConfig, Value
from nanogpt_cli.events import RunForecast
from nanogpt_cli.explain.catalogue import DEFAULT_LANGUAGE, Catalogue
from nanogpt_cli.explain.effects import model, optimizer, rates, run_and_data, system, watching
from nanogpt_cli.explain.effects.case import Bytes, Effect, RunCase, Seconds
from nanogpt_cli.explain.numbers import with_fixed_spaces

PREFIX: Final = "settings_"  # of the catalogues' names, beside those of explain-log
SCHEMA_VERSION: Final = 1

EFFECTS: Final[Mapping[str, Effect]] = {
    name: effect
    for part in (run_and_data, model, optimizer, rates, watching, system)
    for name, effect in part.EFFECTS.items()
}
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_ORIGINS: Final = ("flag", "environment", "preset", "init_from")  # their first word; else a file and its line


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A sentence of a setting that should be seen."""

    setting: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class ExplainedSetting:
    """One row of the table."""

    setting: Setting
    group: str  # in the reader's language
    value: Value
    is_default: bool  # nobody set it
    origin: str
    meaning: str
    effect: str
    cautions: tuple[Caution, ...]


@dataclass(frozen=True, kw_only=True)
class SettingsExplanation:
    """Everything that `train --explain` shows."""

    language: str
    settings: tuple[ExplainedSetting, ...]
    forecast_rows: tuple[tuple[str, str], ...]  # label and text
    case: RunCase

    @property
    def cautions(self) -> list[Caution]:
        """Of all settings, in the table's order."""
        return [caution for setting in self.settings for caution in setting.cautions]

    def to_json(self) -> dict[str, object]:
        """The document of `--json`."""
        case, found = self.case, self.case.forecast
        return {
            "schema_version": SCHEMA_VERSION,
            "language": self.language,
            "settings": [
                {
                    "name": row.setting.name,
                    "group": row.setting.group,
                    "value": row.value,
                    "default": row.setting.default,
                    "origin": row.origin,
                    "is_default": row.is_default,
                    "meaning": row.meaning,
                    "effect": row.effect,
                }
                for row in self.settings
            ],
            "cautions": [asdict(caution) for caution in self.cautions],
            "forecast": {
                **asdict(found),
                "memory_bytes": found.memory_bytes,
                "tokens_per_iter": case.tokens_per_iter,
                "tokens": case.tokens,
                "epochs": case.epochs,
                "tokens_per_param": case.tokens_per_param,
                "flops": case.tokens * found.flops_per_token,
                "tokens_per_second": case.tokens_per_second,
                "mfu": case.mfu,
                "train_seconds": case.train_seconds,
                "eval_seconds": case.eval_seconds,
                "eval_share": case.eval_share,
            },
        }


@functools.cache
def settings_catalogue(language: str = DEFAULT_LANGUAGE) -> Catalogue:
    """The words of one language."""
    file = resources.files("nanogpt_cli.explain").joinpath("messages", f"{PREFIX}{language}.toml")
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    fixed = {
        section: {key: with_fixed_spaces(text, language) for key, text in texts.items()}
        for section, texts in tables.items()
    }
    return Catalogue(language, fixed)


def explain_settings(
    config: TrainConfig, origins: Mapping[str, str], forecast: RunForecast, language: str = DEFAULT_LANGUAGE
) -> SettingsExplanation:
    """Every setting of the schema, in its order, and the forecast."""
    words, case = settings_catalogue(language), RunCase(config=config, forecast=forecast)
    return SettingsExplanation(
        language=language,
        settings=tuple(_explained(setting, case, origins, words) for setting in SETTINGS.values()),
        forecast_rows=tuple(_forecast_rows(case, words)),
        case=case,
    )


def _explained(
    setting: Setting, case: RunCase, origins: Mapping[str, str], words: Catalogue
) -> ExplainedSetting:
    name = setting.name
    told = [
        (sentence, words.text(name, sentence.key, **_shown(sentence.numbers, words)))
        for sentence in EFFECTS[name](case)
    ]
    return ExplainedSetting(
        setting=setting,
        group=words.text("groups", setting.group),
        value=getattr(case.config, name),
        is_default=origins[name] == "default",
        origin=_origin(origins[name], words),
        meaning=words.text(name, "meaning"),
        effect=words.sentences(text for _, text in told),
        cautions=tuple(
            Caution(setting=name, code=sentence.key, message=text)
            for sentence, text in told
            if sentence.caution
        ),
    )


def _origin(origin: str, words: Catalogue) -> str:
    """`flag --block-size` in the reader's language; a file and its line as they are."""
    kind, _, name = origin.partition(" ")
    if origin == "default" or (kind in _ORIGINS and name):
        return words.text("origins", kind, name=name)
    return origin


def _shown(numbers: Mapping[str, Any], words: Catalogue) -> dict[str, Any]:
    return {name: _as_text(value, words) for name, value in numbers.items()}


def _as_text(value: Any, words: Catalogue) -> Any:
    if isinstance(value, Seconds):
        return duration(value, words)
    return memory_size(value) if isinstance(value, Bytes) else value


def duration(seconds: float, words: Catalogue) -> str:
    """As the catalogue says it; below ten seconds with the digits that matter."""
    if seconds < 1:
        return words.text("units", "milliseconds", ms=1000 * seconds)
    if seconds < 10:
        return words.text("units", "short", s=seconds)
    return words.duration(seconds)


def memory_size(size: int) -> str:
    """`6.14 GiB`, which `{name:size}` writes in the reader's notation."""
    power = max(1, min(4, (max(size, 1).bit_length() - 1) // 10))
    number = size / 1024**power
    return f"{number:.3g} {_UNITS[power]}" if number < 1000 else f"{number:.0f} {_UNITS[power]}"


def _forecast_rows(case: RunCase, words: Catalogue) -> list[tuple[str, str]]:
    found, timing = case.forecast, case.forecast.timing
    rows: list[tuple[str, str]] = []

    def row(label: str, key: str, **numbers: Any) -> None:
        text = words.text("forecast", key, **_shown(numbers, words))
        rows.append((words.text("forecast", f"label_{label}"), text))

    counted = "parameters" if found.n_params < found.n_params_total else "parameters_all"
    row("parameters", counted, n_params=found.n_params, total=found.n_params_total)
    row(
        "memory",
        "memory",
        total=Bytes(found.memory_bytes),
        weights=Bytes(found.weights_bytes),
        gradients=Bytes(found.gradients_bytes),
        optimizer=Bytes(found.optimizer_bytes),
        activations=Bytes(found.activations_bytes),
    )
    if found.available_bytes is None:
        row("free", "free_unknown")
    else:
        free = Bytes(found.available_bytes)
        row("free", "free" if case.fits else "free_short", free=free, device=found.device)
    if case.trains:
        ratio = case.tokens_per_param
        row(
            "tokens",
            "tokens",
            per_iter=case.tokens_per_iter,
            iters=case.config.max_iters,
            tokens=case.tokens,
            ratio=ratio,
        )
        row("epochs", "epochs", epochs=case.epochs, train_tokens=found.train_tokens)
        flops = case.tokens * found.flops_per_token
        row("flops", "flops", per_token=found.flops_per_token, all=flops)
        row(
            "speed",
            "speed_assumed" if timing.basis == "estimated" else "speed",
            iter_ms=timing.iter_ms,
            rate=case.tokens_per_second,
            mfu=case.mfu,
            tera=found.peak_flops / 1e12,
        )
        row(
            "time",
            "time",
            all=Seconds(case.total_seconds),
            train=Seconds(case.train_seconds),
            eval=Seconds(case.eval_seconds),
            count=found.n_evals,
        )
    else:
        row("time", "time_eval", eval=Seconds(case.eval_seconds))
    row("basis", f"basis_{timing.basis}", rows=timing.probe_rows, batch=case.config.batch_size)
    if timing.first_loss is not None:
        loss, blind = timing.first_loss, case.blind_loss
        row("first_loss", "first_loss", loss=loss, vocab=found.vocab_size, blind=blind)
    if case.trains:
        size, kept = found.checkpoint_bytes, case.config.keep_checkpoints + 1
        row("disk", "disk", disk=Bytes(kept * size), size=Bytes(size))
    return rows

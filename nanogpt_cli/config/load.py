"""Layers of settings become one validated `TrainConfig`, every value remembering where it came from.

Precedence: flag > environment `NANOGPT_*` > configuration files (the later one wins) > preset > default.
All problems of all layers are reported in one error, each with its file and line.
"""

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from nanogpt_cli.config.advice import missing_file_hint, nearest, suggestion
from nanogpt_cli.config.nanogpt_py import read_nanogpt_py
from nanogpt_cli.config.presets import preset_names, preset_path, preset_summary
from nanogpt_cli.config.schema import AUTO, SETTINGS, TrainConfig, Value, cautions, contradictions
from nanogpt_cli.errors import UsageError

PROJECT_FILE = "nanogpt.toml"
DATA_ROOT = Path("data")
NANOGPT_DATASET = "openwebtext"
# Variables of ours that are no settings of a run.
_OTHER_ENVIRONMENT = {"NANOGPT_LANG", "NANOGPT_CACHE_DIR", "NANOGPT_LAUNCHER_PID", "NANOGPT_LAUNCHER_DIR"}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Settings from one place, as written there."""

    origin: str  # "preset cpu-tiny", "nanogpt.toml", "environment", "flag"
    values: Mapping[str, object]
    lines: Mapping[str, int] = field(default_factory=dict)
    preset: str | None = None
    warnings: tuple[str, ...] = ()

    def where(self, name: str) -> str:
        """The place of one value: `nanogpt.toml:7`, `flag --block-size`."""
        if self.origin == "flag":
            return f"flag {SETTINGS[name].flag}" if name in SETTINGS else "flag"
        if self.origin == "environment":
            return f"environment {SETTINGS[name].env}" if name in SETTINGS else "environment"
        return f"{self.origin}:{self.lines[name]}" if name in self.lines else self.origin


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A validated configuration, where each value came from, and what is worth a warning."""

    config: TrainConfig
    origins: Mapping[str, str]  # "default" where nobody set it
    label: str  # what the run is named after: the preset, else the last configuration file
    warnings: tuple[str, ...] = ()
    # Of the layers below a "batch_size = auto": with gradient_accumulation_steps it is what auto keeps.
    kept_batch_size: int = TrainConfig.batch_size

    def replace(self, origin: str, **values: Value) -> "LoadedConfig":
        """The same with some settings decided by the program itself, `origin` saying by whom."""
        config = dataclasses.replace(self.config, **cast("dict[str, Any]", values))
        return dataclasses.replace(
            self, config=config, origins={**self.origins, **dict.fromkeys(values, origin)}
        )


def load_config(
    *files: str | Path,
    preset: str | None = None,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    base: Layer | None = None,
    problems: Sequence[str] = (),
) -> LoadedConfig:
    """Read configuration files (TOML or nanoGPT's .py), then apply environment and flags over a preset.

    `base` lies below the files and above the preset: the settings of a run that is resumed. A preset named
    here wins over a `preset = "…"` key inside a TOML file. `environment` defaults to os.environ. Raises
    UsageError listing every problem found, and those `problems` found before.
    """
    layers, preset = _layers(files, preset, flags, environment, base)
    label = preset or (Path(files[-1]).stem if files else "run")
    loaded = merge(layers, label=label, problems=problems)
    if not loaded.config.dataset and any(Path(path).suffix == ".py" for path in files):
        return _with_nanogpts_dataset(loaded)
    return loaded


def load_setting(
    name: str, *files: str | Path, preset: str | None = None, flags: Mapping[str, object] | None = None
) -> Value:
    """One setting as `load_config` finds it, whatever the others are: they may be meant for a resumed run,
    over whose own settings they agree, and over the defaults they do not.
    """
    layers, _ = _layers(files, preset, flags, None, None)
    alone = [
        dataclasses.replace(layer, values={key: value for key, value in layer.values.items() if key == name})
        for layer in layers
    ]
    return cast("Value", getattr(merge(alone, label=name).config, name))


def _layers(
    files: Sequence[str | Path],
    preset: str | None,
    flags: Mapping[str, object] | None,
    environment: Mapping[str, str] | None,
    base: Layer | None,
) -> tuple[list[Layer], str | None]:
    """The layers from the lowest to the highest, and the preset among them."""
    layers = [read_file(Path(path)) for path in files]
    preset = preset or next((layer.preset for layer in reversed(layers) if layer.preset), None)
    if base is not None:
        layers.insert(0, base)
    if preset:
        layers.insert(0, read_preset(preset))
    layers.append(_environment_layer(os.environ if environment is None else environment))
    layers.append(Layer(origin="flag", values=flags or {}))
    return layers, preset


def _with_nanogpts_dataset(loaded: LoadedConfig) -> LoadedConfig:
    """nanoGPT's files for GPT-2 name no dataset: its train.py takes openwebtext, where that is prepared."""
    if not (DATA_ROOT / NANOGPT_DATASET / "train.bin").is_file():
        return loaded
    return loaded.replace("nanoGPT's default", dataset=NANOGPT_DATASET)


def merge(layers: Sequence[Layer], *, label: str, problems: Sequence[str] = ()) -> LoadedConfig:
    """Lay the layers over the defaults, the last one on top, and validate the result."""
    values: dict[str, Value] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    problems = list(problems)
    kept_batch_size = TrainConfig.batch_size
    for layer in layers:
        for name, raw in layer.values.items():
            if name not in SETTINGS:
                problems.append(f"{layer.where(name)}: unknown setting {name!r}{suggestion(name)}")
                continue
            try:
                values[name] = SETTINGS[name].parse(raw)
            except ValueError as error:
                problems.append(f"{layer.where(name)}: {name} must be {error}")
            else:
                origins[name] = layer.where(name)
        if (batch_size := values.get("batch_size", AUTO)) != AUTO:
            kept_batch_size = cast("int", batch_size)
    if problems:
        raise _invalid(problems)
    config = TrainConfig(**cast("dict[str, Any]", values))
    if found := contradictions(config):
        raise _invalid([message for message, _ in found], found[0][1])
    warnings = [text for layer in layers for text in layer.warnings] + cautions(config)
    return LoadedConfig(
        config=config,
        origins=origins,
        label=label,
        warnings=tuple(warnings),
        kept_batch_size=kept_batch_size,
    )


def read_file(path: Path) -> Layer:
    """One configuration file as a layer: `.toml`, or a nanoGPT `.py`, which is parsed and never executed."""
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder, not a configuration file",
            f"to go on with the run in it: nanogpt train --resume --out-dir {path}",
        )
    if not path.is_file():
        raise UsageError(f"there is no configuration file {path}", missing_file_hint(path))
    if path.suffix not in {".toml", ".py"}:
        raise UsageError(
            f"{path} is not a configuration file: those end in .toml or .py",
            f"to train on a text, prepare it first: nanogpt prepare {path} --tokenizer char",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not a text file (byte {error.start} is not UTF-8)",
            "name a .toml file or a nanoGPT .py config: nanogpt train config.toml",
        ) from None
    if path.suffix == ".py":
        parsed = read_nanogpt_py(text, str(path))
        # `n_gpus = 8`, then `gradient_accumulation_steps = 5 * n_gpus`: the first is a step on the way.
        aids = parsed.used - SETTINGS.keys()
        values = {name: value for name, value in parsed.values.items() if name not in aids}
        return Layer(origin=str(path), values=values, lines=parsed.lines, warnings=parsed.warnings)
    return _read_toml(text, str(path))


def read_preset(name: str) -> Layer:
    """A preset of templates/presets as a layer."""
    if name not in preset_names():
        raise UsageError(
            f"there is no preset {name!r}{suggestion(name, preset_names())}",
            f"nanogpt train --preset {nearest(name, preset_names()) or 'cpu-tiny'}",
            details=tuple(f"{known}: {preset_summary(known)}" for known in preset_names()),
        )
    layer = _read_toml(preset_path(name).read_text(encoding="utf-8"), f"preset {name}")
    return dataclasses.replace(layer, lines={})  # nobody edits a preset: its name is place enough


def dump_toml(config: TrainConfig, *, header: str = "", origins: Mapping[str, str] | None = None) -> str:
    """The configuration as TOML with every setting written out, in the schema's order.

    `origins` are added as comments, but for defaults.
    """
    lines = [f"# {line}" for line in header.splitlines()]
    group = ""
    for setting in SETTINGS.values():
        if setting.group != group:
            group = setting.group
            lines += ["", f"# {group}"]
        origin = (origins or {}).get(setting.name, "default")
        comment = "" if origin == "default" else f"  # {' '.join(origin.split())}"
        value = getattr(config, setting.name)
        value = "auto" if setting.auto is not None and value == setting.auto else value
        lines.append(f"{setting.name} = {toml_value(value)}{comment}")
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_value(value: Value) -> str:
    """One TOML scalar (https://toml.io/en/v1.0.0#string: basic strings escape quotes and controls)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'
    return repr(value)


def _read_toml(text: str, origin: str) -> Layer:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{origin} is not valid TOML: {error}",
            'write one setting a line, as in: block_size = 64   or   dataset = "input"',
        ) from None
    preset = document.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise UsageError(f"{origin}: preset must be a name, not {preset!r}", 'write: preset = "cpu-tiny"')
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[*[\"']?([\w-]+)[\"']?\]*\s*(?:[=.#]|$)", line):
            lines.setdefault(match[1], number)
    return Layer(origin=origin, values=document, lines=lines, preset=preset)


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    by_variable = {setting.env: name for name, setting in SETTINGS.items()}
    values = {by_variable[key]: text for key, text in environment.items() if key in by_variable}
    unknown = sorted(
        key
        for key in environment
        if key.startswith("NANOGPT_") and key not in by_variable and key not in _OTHER_ENVIRONMENT
    )
    warnings = tuple(f"environment variable {key} names no setting and is ignored" for key in unknown)
    return Layer(origin="environment", values=values, warnings=warnings)


def _invalid(
    problems: list[str], hint: str = "nanogpt train --help lists every setting with its type and range"
) -> UsageError:
    if len(problems) == 1:
        return UsageError(problems[0], hint)
    return UsageError(f"{len(problems)} settings are wrong", hint, details=tuple(problems))

"""`nanogpt train`: finds configuration, dataset and run directory, then hands over to the engine."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanogpt_cli.cli import console, explain_settings
from nanogpt_cli.cli.loading import load_torch
from nanogpt_cli.cli.options import ARGUMENTS, UNKNOWN, JsonOption, QuietOption, with_settings
from nanogpt_cli.config.load import PROJECT_FILE, LoadedConfig, load_config, load_setting
from nanogpt_cli.config.presets import choose_preset, preset_names
from nanogpt_cli.errors import EXIT_OK, EXIT_SIGINT, EXIT_SIGTERM, DivergedError, UsageError
from nanogpt_cli.events import Event, Notice, Progress, Reporter, RunEnded, Tee, Warned

if TYPE_CHECKING:
    from nanogpt_cli.data.dataset import Dataset

_LARGE_BYTES = 1 << 26  # reading less than 64 MB takes a blink
_EXIT_CODES = {"SIGINT": EXIT_SIGINT, "SIGTERM": EXIT_SIGTERM}


@with_settings
def train_command(
    ctx: typer.Context,
    configs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CONFIG", help="TOML files, or nanoGPT's .py configs; later ones win."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="One of: " + ", ".join(preset_names()) + ".")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out-dir, or with the newest one.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --out-dir instead of starting a new one.")
    ] = False,
    nproc: Annotated[
        int, typer.Option("--nproc", min=1, help="Processes on this machine that share the work.")
    ] = 1,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="A dry run: what every setting does here, and what the run would take. Nothing is written.",
        ),
    ] = False,
    language: Annotated[
        str,
        typer.Option(
            "--lang",
            metavar="LANG",
            help="Of --explain: en, es, fr, zh [default: NANOGPT_LANG, else the locale's]".replace(
                "[", "\\["
            ),
        ),
    ] = "",
    json: JsonOption = False,
    quiet: QuietOption = False,
    **settings: str | bool | None,
) -> None:
    """Train a GPT on a prepared dataset.

    Settings are taken from flags, then the environment (NANOGPT_BLOCK_SIZE=64), then CONFIG files
    (./nanogpt.toml when none is named), then the preset, then the defaults.
    """
    if language and not explain:
        raise UsageError("--lang is the language of --explain", f"nanogpt train --explain --lang {language}")
    flags = {name: value for name, value in settings.items() if value is not None}
    if unknown := ctx.meta[UNKNOWN]:
        load_config(*configs or [], preset=preset, flags=flags, problems=unknown)  # raises
    if nproc > 1 and "RANK" not in os.environ and not explain:  # a launched process has one
        from nanogpt_cli.cli.launch import launch, without_option

        arguments = without_option(ctx.meta[ARGUMENTS], "--nproc")
        raise typer.Exit(launch(["train", *arguments], nproc))
    spoken = explain_settings.language_of(language) if explain else ""
    if resume and overwrite:
        raise UsageError("--resume goes on with a run, --overwrite replaces it", "give one of the two")
    if resume and flags.get("init_from", "resume") != "resume":
        raise UsageError("a resumed run starts from its checkpoint", "leave --init-from or --resume out")
    reporter = _Delayed(quiet=quiet or not _is_main_process())
    job = _resumed_job(configs or [], preset, flags, reporter) if resume or _asks_resume(flags) else None
    if job is None:
        job = _new_job(configs or [], preset, flags, reporter, overwrite=overwrite)
    for warning in job.loaded.warnings:
        reporter.emit(Warned(message=warning))
    if explain:
        if _is_main_process():
            command = explain_settings.without_explain(ctx.meta[ARGUMENTS])
            explain_settings.explain(
                job.loaded,
                job.dataset,
                job.run_dir,
                said=reporter.kept,
                resume=job.resume,
                nproc=nproc,
                language=spoken,
                json=json,
                quiet=quiet,
                command=command,
            )
        return

    from nanogpt_cli.cli.launch import stop_when_orphaned, tell_launcher
    from nanogpt_cli.cli.reporters import train_reporter
    from nanogpt_cli.engine.train import train

    stop_when_orphaned()
    if _is_main_process():
        tell_launcher(job.run_dir)
    ending = _Ending()
    screen = Tee(train_reporter(quiet=quiet or not _is_main_process()), ending)
    reporter.pour_into(screen)
    try:
        result = train(
            job.loaded,
            job.dataset,
            job.run_dir,
            reporter=screen,
            resume=job.resume,
            overwrite=overwrite,
        )
    except DivergedError:
        if json and ending.event is not None:
            _print_result(ending.event)
        raise
    finally:
        screen.close()
    if _is_main_process():
        _say_result(result, json=json, quiet=quiet)
    raise typer.Exit(_EXIT_CODES.get(result.reason, EXIT_OK))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    loaded: LoadedConfig
    dataset: "Dataset"
    run_dir: Path
    resume: bool


class _Ending:
    """Remembers how the run ended, for --json when it ended in an error."""

    def __init__(self) -> None:
        self.event: RunEnded | None = None

    def emit(self, event: Event) -> None:
        if isinstance(event, RunEnded):
            self.event = event

    def close(self) -> None:
        """Nothing to close."""


class _Delayed:
    """Keeps what is said while the job is put together, until there is a screen to say it on.

    Only the verification of a large dataset, seconds to minutes of reading, shows its progress at once.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.kept: list[Notice | Warned] = []
        self._quiet = quiet
        self._bar: Reporter | None = None

    @contextlib.contextmanager
    def verifying(self) -> Iterator[None]:
        from nanogpt_cli.cli.reporters.progress_bar import ProgressBar

        with ProgressBar(quiet=self._quiet) as self._bar:
            yield

    def emit(self, event: Event) -> None:
        if isinstance(event, Notice | Warned):
            self.kept.append(event)
        elif isinstance(event, Progress) and self._bar is not None and (event.total or 0) >= _LARGE_BYTES:
            self._bar.emit(event)

    def close(self) -> None:
        """Nothing to close."""

    def pour_into(self, reporter: Reporter) -> None:
        for event in self.kept:
            reporter.emit(event)


def _new_job(
    configs: list[Path],
    preset: str | None,
    flags: dict[str, str | bool],
    reporter: _Delayed,
    *,
    overwrite: bool,
) -> _Job:
    if not configs and Path(PROJECT_FILE).is_file():
        configs = [Path(PROJECT_FILE)]
        reporter.emit(Notice(message=f"using {PROJECT_FILE}"))
    if load_setting("init_from", *configs, preset=preset, flags=flags) == "resume":
        return _resumed_job(configs, preset, flags, reporter)
    loaded = load_config(*configs, preset=preset, flags=flags)
    dataset = _dataset(loaded.config.dataset, reporter)
    load_torch()
    if not configs and preset is None:
        from nanogpt_cli.engine.device import resolve_device

        device = resolve_device(loaded.config.device)
        preset, why = choose_preset(
            device.type,
            dataset.vocab_size or 50257,
            train_tokens=dataset.splits["train"].tokens,
            val_tokens=dataset.splits["val"].tokens,
            given=[name for name, origin in loaded.origins.items() if origin != "default"],
        )
        reporter.emit(Notice(message=f"using preset {preset}: {why} (--preset chooses another)"))
        loaded = load_config(preset=preset, flags=flags)

    from nanogpt_cli.engine.runs import OUT_ROOT, free_run_dir, holds_run

    wanted = Path(loaded.config.out_dir or OUT_ROOT / f"{dataset.name}-{loaded.label}")
    run_dir = wanted if overwrite else free_run_dir(wanted)
    if wanted.is_file():
        raise UsageError(f"out_dir {wanted} is a file", "name a folder: --out-dir out/my-run")
    if run_dir != wanted:
        reporter.emit(
            Notice(
                message=f"{wanted} holds a run: writing to {run_dir} (--resume goes on, --overwrite replaces)"
            )
        )
    elif overwrite and holds_run(wanted):
        reporter.emit(Notice(message=f"replacing the run in {wanted}"))
    return _Job(loaded=loaded, dataset=dataset, run_dir=run_dir, resume=False)


def _resumed_job(
    configs: list[Path], preset: str | None, flags: dict[str, str | bool], reporter: _Delayed
) -> _Job:
    load_torch()
    from nanogpt_cli.engine.runs import choose_checkpoint, foreign_ckpt, newest_run, resumed_settings

    if preset is not None:
        told = f"--preset {preset} is not read: a resumed run keeps its own settings, other flags apply"
        reporter.emit(Warned(message=told))
    project = configs
    if not configs and Path(PROJECT_FILE).is_file():
        project = [Path(PROJECT_FILE)]
        told = f"of {PROJECT_FILE} only out_dir is read: a resumed run keeps its own settings, flags apply"
        reporter.emit(Notice(message=told))
    named = load_setting("out_dir", *project, preset=preset, flags=flags)
    run_dir = Path(str(named)) if named else newest_run()
    if (ckpt := foreign_ckpt(run_dir)) is not None:
        reporter.emit(Notice(message=f"going on from nanoGPT's {ckpt}"))
    else:
        choose_checkpoint(run_dir, "last")  # raises the clear errors for folders without a run
    if not named:
        reporter.emit(Notice(message=f"resuming the newest run, {run_dir}"))
    flags = {name: value for name, value in flags.items() if name != "init_from"}
    loaded = load_config(*configs, preset=preset, flags=flags, base=resumed_settings(run_dir))
    dataset = _dataset(loaded.config.dataset, reporter)
    return _Job(loaded=loaded, dataset=dataset, run_dir=run_dir, resume=True)


def _print_result(result: RunEnded) -> None:
    document = dataclasses.asdict(result)
    del document["best_checkpoint"], document["saved"]
    console.print_json({"schema_version": 1, **document})


def _asks_resume(flags: dict[str, str | bool]) -> bool:
    return flags.get("init_from") == "resume"


def _dataset(name: str, reporter: _Delayed) -> "Dataset":
    from nanogpt_cli.data.dataset import open_dataset
    from nanogpt_cli.data.discovery import newest_dataset

    with reporter.verifying():
        dataset = open_dataset(name or newest_dataset(), reporter=reporter)
    if not name:
        reporter.emit(Notice(message=f"training on {dataset.path} (--dataset chooses another)"))
    return dataset


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say_result(result: RunEnded, *, json: bool, quiet: bool) -> None:
    if json:
        _print_result(result)
    if result.reason in _EXIT_CODES and result.saved:
        console.next_step(f"nanogpt train --resume --out-dir {result.run_dir}", quiet=quiet)
    elif result.reason == "finished":
        console.next_step(f'nanogpt sample {result.run_dir} --prompt "..."', quiet=quiet)

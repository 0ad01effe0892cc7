"""The trackers: what they are told, that they start only when asked, and that nothing they do stops a run."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.cli.reporters.trackers.reporter import Trackers
from nanogpt_cli.cli.reporters.trackers.values import last_recorded, recorded_eval, values_of
from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.events import Event, Notice, Warned
from tests.cli.reporter_events import ended, evaluated, saved, started, step
from tests.cli.tiny_run import prepare, train
from tests.cli.tracker_fakes import Notes, install

ALL = {"tensorboard_log": True, "wandb_log": True, "trackio_log": True}


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    return install(monkeypatch)


def config(**changes: Any) -> TrainConfig:
    return dataclasses.replace(started().config, **changes)


def run(folder: Path, *evts: Event, resumed_from: int | None = None, **settings: Any) -> list[str]:
    """A run's events through the trackers; returns what they said."""
    said: list[Event] = []
    trackers = Trackers(said.append)
    trackers.emit(
        started(
            config=config(**(settings or ALL)),
            run_dir=str(folder),
            resumed_from_iter=resumed_from,
            dataset_dir="data/little",
        )
    )
    for event in evts:
        trackers.emit(event)
    trackers.close()
    return [event.message for event in said if isinstance(event, Notice | Warned)]


# --- What is told


def test_nanogpts_names_and_ours() -> None:
    """nanoGPT's train.py sends iter, train/loss, val/loss, lr and mfu, this one in percent."""
    assert values_of(evaluated(250)) == {"iter": 250, "train/loss": 1.9, "val/loss": 2.00004, "lr": 1e-3}
    line = values_of(step(10))
    assert line["mfu"] == pytest.approx(5.121)
    assert {"iter", "lr", "mfu", "train/interval_loss", "grad_norm", "tokens"} <= set(line)
    assert "train/loss" not in line
    assert "mfu" not in values_of(step(10, mfu=None))
    assert values_of(saved(250)) == {}


def test_nothing_is_imported_unless_asked_for(tmp_path: Path, notes: Notes) -> None:
    assert run(tmp_path, step(0), evaluated(10), ended(), tensorboard_log=False) == []
    assert notes.calls == []
    assert list(tmp_path.iterdir()) == []


def test_each_is_told_everything(tmp_path: Path, notes: Notes) -> None:
    run(tmp_path, evaluated(0), step(0), saved(0), ended())
    assert [(c["name"], c["value"], c["step"]) for c in notes.of("tensorboard.scalar")][:3] == [
        ("train/loss", 1.9, 0),
        ("val/loss", 2.00004, 0),
        ("lr", 1e-3, 0),
    ]
    curves = [c["name"] for c in notes.of("tensorboard.scalar")]
    assert len(curves) == len(set(curves)), "lr is told twice, and one point is enough"
    assert "| block_size | 64 |" in notes.of("tensorboard.text")[0]["text"]
    for name in ("wandb", "trackio"):
        first, second = notes.of(f"{name}.log")
        assert (first["step"], first["iter"], first["val/loss"]) == (0, 0, 2.00004)
        assert (second["step"], second["train/interval_loss"]) == (0, 3.12341)
        assert notes.of(f"{name}.init")[0]["config"]["n_layer"] == 4
    assert notes.of("wandb.finish")[0]["exit_code"] == 0
    assert notes.of("wandb.finish")[0]["summary"]["best_val_loss"] == 1.88574
    assert (notes.of("wandb.init")[0]["project"], notes.of("wandb.init")[0]["name"]) == ("owt", "gpt2")
    assert (notes.of("trackio.init")[0]["project"], notes.of("trackio.init")[0]["name"]) == (
        "little",
        tmp_path.name,
    )
    for name in ("tensorboard.flush", "tensorboard.close", "trackio.finish"):
        assert len(notes.of(name)) == 1


def test_an_error_that_ends_the_run_closes_them_too(tmp_path: Path, notes: Notes) -> None:
    run(tmp_path, step(0))
    assert notes.of("wandb.finish")[0]["exit_code"] == 1
    assert len(notes.of("tensorboard.close")) == 1


def test_a_project_that_was_set_is_trackios_too(tmp_path: Path, notes: Notes) -> None:
    run(tmp_path, trackio_log=True, wandb_project="mine")
    assert notes.of("trackio.init")[0]["project"] == "mine"


# --- wandb never asks for a login


def test_without_a_key_wandb_is_offline_and_says_so(tmp_path: Path, notes: Notes) -> None:
    (said,) = run(tmp_path, wandb_log=True)
    (begun,) = notes.of("wandb.init")
    assert begun["mode"] == "offline"
    assert begun["settings"].values["silent"] is True
    assert "no key is known" in said
    assert f"wandb sync {tmp_path}/wandb/offline-run-*" in said


@pytest.mark.parametrize("kind", ["variable", "netrc"])
def test_with_a_key_wandb_is_online(
    kind: str, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "variable":
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    else:
        (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'k' * 40}\n", "utf-8")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (said,) = run(tmp_path, wandb_log=True)
    assert notes.of("wandb.init")[0]["mode"] == "online"
    assert "https://wandb.example/run" in said


@pytest.mark.parametrize(
    ("named", "mode"), [("offline", "offline"), ("disabled", "disabled"), ("online", "offline")]
)
def test_wandbs_own_variable_counts_but_cannot_make_it_ask(
    named: str, mode: str, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", named)
    run(tmp_path, wandb_log=True)
    assert notes.of("wandb.init")[0]["mode"] == mode


def test_a_network_that_is_down_means_offline(
    tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    notes.raises["wandb.online"] = ConnectionError("no route to host")
    (said,) = run(tmp_path, step(0), ended(), wandb_log=True)
    assert [begun["mode"] for begun in notes.of("wandb.init")] == ["online", "offline"]
    assert "no route to host" in said
    assert len(notes.of("wandb.log")) == 1


# --- Whatever goes wrong


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_one_warning_with_the_command(
    name: str, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # importing it raises ModuleNotFoundError
    said = run(tmp_path, step(0), step(10), ended())
    (told,) = [text for text in said if "not installed" in text]
    assert told.startswith(f"{name} is not installed")
    assert f'pip install "nanogpt-cli[{name}]"' in told
    others = {called.partition(".")[0] for called, _ in notes.calls}
    assert others == {"tensorboard", "wandb", "trackio"} - {name}


@pytest.mark.parametrize(
    "at",
    [
        *("tensorboard.open", "tensorboard.scalar", "tensorboard.flush", "tensorboard.close"),
        *("wandb.init", "wandb.log", "wandb.finish", "trackio.init", "trackio.log", "trackio.finish"),
    ],
)
@pytest.mark.parametrize("error", [RuntimeError("server\nsays no"), SystemExit(1), ImportError("libfoo.so")])
def test_an_error_at_any_moment_is_told_once_and_ends_that_tracker_alone(
    at: str, error: BaseException, tmp_path: Path, notes: Notes
) -> None:
    notes.raises[at] = error
    said = run(tmp_path, evaluated(0), step(0), saved(0), evaluated(10), step(10), saved(10), ended())
    name = at.partition(".")[0]
    (told,) = [text for text in said if "training goes on" in text]
    assert told.startswith(f"{name} ")
    assert type(error).__name__ in told
    assert "\n" not in told
    assert len(notes.of(at)) == 1
    for other in {"wandb", "trackio"} - {name}:
        assert len(notes.of(f"{other}.log")) == 4


def test_what_they_print_does_not_reach_stdout(
    tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, step(0), ended())
    assert notes.of("wandb.init")
    assert capsys.readouterr().out == ""


# --- Going on with a run


def test_online_wandb_itself_passes_over_what_has_arrived(
    tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process had still to send is lost, and only the server knows how much that was."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    run(tmp_path, step(10), step(20), wandb_log=True)
    records(tmp_path, ("step", 10), ("step", 20))
    notes.calls.clear()
    run(tmp_path, step(10), step(20), step(30), wandb_log=True, resumed_from=10)
    assert notes.of("wandb.init")[0]["resume"] == "allow"
    assert [told["step"] for told in notes.of("wandb.log")] == [10, 20, 30]


def records(folder: Path, *evts: tuple[str, int]) -> None:
    numbers = {"train_loss": 1.5, "val_loss": 2.5, "lr": 0.1, "best": True, "eval_ms": 1.0}
    lines = [json.dumps({"v": 1, "event": kind, "step": at, **numbers}) for kind, at in evts]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"v":1,"event":"st']), encoding="utf-8")


def test_how_far_the_records_reach(tmp_path: Path) -> None:
    assert last_recorded(tmp_path / "metrics.jsonl") is None
    records(tmp_path, ("eval", 10), ("step", 10), ("step", 20), ("eval", 20), ("checkpoint", 99))
    reached = last_recorded(tmp_path / "metrics.jsonl")
    assert reached is not None
    assert (reached.step, reached.part) == (20, 2)
    assert recorded_eval(tmp_path / "metrics.jsonl", 20) == dataclasses.replace(
        evaluated(20), train_loss=1.5, val_loss=2.5, lr=0.1, eval_ms=1.0
    )
    assert recorded_eval(tmp_path / "metrics.jsonl", 15) is None


def test_a_resumed_run_goes_on_in_the_same_place_without_doubles(tmp_path: Path, notes: Notes) -> None:
    """Killed after the line of 20 and before that of 30; its checkpoint is at 10."""
    run(tmp_path, evaluated(0), step(0), evaluated(10), saved(10), step(10), step(20))
    first_id = notes.of("wandb.init")[0]["id"]
    records(tmp_path, ("eval", 0), ("step", 0), ("eval", 10), ("checkpoint", 10), ("step", 10), ("step", 20))
    notes.calls.clear()
    again = (step(10), step(20), step(30), evaluated(30), ended())
    run(tmp_path, *again, resumed_from=10)
    assert notes.of("wandb.init")[0]["id"] == first_id
    begun = notes.of("trackio.init")[0]
    assert (begun["name"], begun["resume"]) == ("the-run", "allow")
    for name in ("wandb", "trackio"):
        assert [told["step"] for told in notes.of(f"{name}.log")] == [30, 30]
    # TensorBoard takes back what lies beyond the checkpoint, and with it the checkpoint's own evaluation.
    assert notes.of("tensorboard.open")[0]["purge_step"] == 10
    told = [(c["name"], c["step"]) for c in notes.of("tensorboard.scalar")]
    assert told[:2] == [("train/loss", 10), ("val/loss", 10)]
    assert [at for name, at in told if name == "train/interval_loss"] == [10, 20, 30]


def test_a_process_killed_earlier_than_the_one_before_it_repeats_nothing(
    tmp_path: Path, notes: Notes
) -> None:
    """metrics.jsonl is cut back at every start, and so alone does not know how far the first one got."""
    run(tmp_path, wandb_log=True)
    records(tmp_path, ("step", 10), ("step", 50))
    run(tmp_path, wandb_log=True, resumed_from=10)
    records(tmp_path, ("step", 10), ("step", 20))
    notes.calls.clear()
    run(tmp_path, step(30), step(50), step(60), wandb_log=True, resumed_from=10)
    assert [told["step"] for told in notes.of("wandb.log")] == [60]


def test_a_run_that_replaces_another_does_not_go_on_with_its_curves(tmp_path: Path, notes: Notes) -> None:
    run(tmp_path, tensorboard_log=True, wandb_log=True)
    old = tmp_path / "tensorboard" / "events.out.tfevents.1"
    old.parent.mkdir()
    old.write_bytes(b"")
    run(tmp_path, tensorboard_log=True, wandb_log=True)
    assert not old.exists()
    first, second = notes.of("wandb.init")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"wandb": 3, "logged_to": "x"}', '{"logged_to": [1]}'])
def test_a_damaged_memory_is_as_none(damage: str, tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "trackers.json").write_text(damage, encoding="utf-8")
    said = run(tmp_path, step(30), resumed_from=10)
    assert not [text for text in said if "training goes on" in text]
    assert len(notes.of("wandb.log")) == 1


# --- On the command line


def test_the_short_flags_and_the_long_ones(notes: Notes) -> None:
    prepare()
    done = train("--tensorboard", "--wandb_log=True", "--trackio", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["reason"] == "finished"
    assert {called.partition(".")[0] for called, _ in notes.calls} == {"tensorboard", "wandb", "trackio"}
    config = next(Path("out").glob("*/config.toml")).read_text(encoding="utf-8")
    for line in ("tensorboard_log = true", "wandb_log = true", "trackio_log = true"):
        assert line in config


def test_no_package_at_all_and_the_run_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
    prepare()
    done = train("--tensorboard", "--wandb", "--trackio")
    assert done.code == 0, done.err
    assert done.err.count("is not installed") == 3

"""`nanogpt init`: what it writes, what it refuses, and that every template is a project that works."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.projects import first_command, template_names
from nanogpt_cli.files import templates_dir
from tests.helpers import run_cli

TEMPLATES = ["char", "bpe", "cluster", "finetune"]
FILES = {".gitignore", "README.md", "nanogpt.toml"}


def shell_commands(readme: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_templates_are_these_and_the_default_is_first() -> None:
    assert template_names() == TEMPLATES


def test_init_writes_the_char_project_here(tmp_path: Path) -> None:
    code, out, err = run_cli("init")
    assert (code, out) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert tomllib.loads((tmp_path / "nanogpt.toml").read_text(encoding="utf-8")) == {"preset": "cpu-tiny"}
    assert err.splitlines()[-1] == "next: nanogpt prepare python-docs --tokenizer char"


def test_the_next_step_uses_the_text_that_is_already_there(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("some text", encoding="utf-8")
    assert run_cli("init").err.splitlines()[-1] == "next: nanogpt prepare input.txt --tokenizer char"


def test_the_next_step_goes_into_the_new_folder_quoted_for_the_shell() -> None:
    last = run_cli("init", "my gpt/it's").err.splitlines()[-1]
    assert last == """next: cd 'my gpt/it'"'"'s' && nanogpt prepare python-docs --tokenizer char"""


@pytest.mark.parametrize("name", TEMPLATES)
def test_json_names_what_is_on_disk(name: str, tmp_path: Path) -> None:
    result = run_cli("init", "new/project", "--template", name, "--json", "--quiet")
    assert (result.code, result.err) == (0, "")
    document = result.json()
    assert set(document) == {"schema_version", "dir", "template", "files"}
    assert document["template"] == name
    assert set(document["files"]) == {path.name for path in (tmp_path / "new/project").iterdir()} >= FILES
    assert ("train.slurm" in document["files"]) == (name == "cluster")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_loads_without_a_warning(name: str, tmp_path: Path) -> None:
    run_cli("init", "--template", name)
    loaded = load_config(tmp_path / "nanogpt.toml", environment={})
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_suggested_setting_is_one(name: str, tmp_path: Path) -> None:
    """A commented line of nanogpt.toml that does not load when its # is taken away is a lie."""
    run_cli("init", "--template", name)
    text = (tmp_path / "nanogpt.toml").read_text(encoding="utf-8")
    suggested = re.findall(r"^# ((\w+) = .*)$", text, flags=re.MULTILINE)
    assert suggested
    for line, key in suggested:
        others = [other for other in text.splitlines() if not re.match(rf"{key}\b", other)]
        (tmp_path / "one.toml").write_text("\n".join([*others, line]), encoding="utf-8")
        assert load_config(tmp_path / "one.toml", environment={}).origins[key].startswith(str(tmp_path))


def test_the_commented_lines_of_char_are_what_holds_without_them(tmp_path: Path) -> None:
    run_cli("init", "--template", "char")
    text = (tmp_path / "nanogpt.toml").read_text(encoding="utf-8")
    preset = load_config(preset="cpu-tiny", environment={}).config
    for key, value in re.findall(r"^# (\w+) = (\S+)", text, flags=re.MULTILINE):
        if key != "dataset":
            assert getattr(preset, key) == tomllib.loads(f"x = {value}")["x"], key


def test_what_each_project_trains(tmp_path: Path) -> None:
    configs = {}
    for name in TEMPLATES:
        run_cli("init", name, "--template", name)
        configs[name] = load_config(tmp_path / name / "nanogpt.toml", environment={}).config
    assert (configs["char"].n_layer, configs["char"].max_iters) == (4, 2000)
    assert (configs["bpe"].n_embd, configs["bpe"].block_size, configs["bpe"].batch_size) == (128, 128, 8)
    assert (configs["finetune"].init_from, configs["finetune"].bias) == ("gpt2", True)
    assert (configs["cluster"].n_embd, configs["cluster"].out_dir) == (768, "out/gpt2-124m")


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_readme_begins_with_prepare_train_sample(name: str, tmp_path: Path) -> None:
    run_cli("init", "--template", name)
    commands = shell_commands((tmp_path / "README.md").read_text(encoding="utf-8"))
    assert commands[0] == first_command(name)
    assert commands[0].startswith("nanogpt prepare input.txt --tokenizer ")
    assert re.search(r"(^nanogpt|-m nanogpt_cli) train$", commands[1])
    assert commands[2] == 'nanogpt sample --prompt "The "'


def test_nothing_is_overwritten_and_nothing_is_written_when_one_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "nanogpt.toml").write_text("mine", encoding="utf-8")
    code, out, err = run_cli("init", "--template", "bpe")
    assert (code, out) == (1, "")
    assert "already has nanogpt.toml; nothing was written" in err.splitlines()[0]
    assert err.splitlines()[1].endswith("nanogpt init . --template bpe --force")
    assert [path.name for path in tmp_path.iterdir()] == ["nanogpt.toml"]
    assert (tmp_path / "nanogpt.toml").read_text(encoding="utf-8") == "mine"


def test_a_dangling_link_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")
    assert run_cli("init").code == 1


def test_force_overwrites_only_the_projects_own_files(tmp_path: Path) -> None:
    (tmp_path / "nanogpt.toml").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert run_cli("init", "--force").code == 0
    assert "preset" in (tmp_path / "nanogpt.toml").read_text(encoding="utf-8")
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    code, out, err = run_cli("init", "--template", "finetuen")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: there is no template 'finetuen' (did you mean finetune?)",
        "hint: nanogpt init --template NAME, where NAME is one of: char, bpe, cluster, finetune",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["a-file", "a-file/inside", "a-file/inside/deeper"])
def test_a_file_is_no_folder(target: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("mine", encoding="utf-8")
    code, _, err = run_cli("init", target)
    assert code == 2
    assert err.splitlines()[0] == "error: a-file is a file, not a folder"
    assert (tmp_path / "a-file").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_no_half_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the second file: the first one goes again, or the next init would meet it."""
    real_mkstemp = tempfile.mkstemp
    calls = []

    def full_disk(**options: str) -> tuple[int, str]:
        calls.append(options)
        if len(calls) == 2:
            raise PermissionError(13, "Permission denied")
        return real_mkstemp(**options)

    monkeypatch.setattr(tempfile, "mkstemp", full_disk)
    code, _, err = run_cli("init", "new")
    assert code == 1
    assert err.splitlines() == [
        "error: cannot write into new: permission denied",
        "hint: choose a folder that is yours: nanogpt init ~/my-gpt",
    ]
    assert list((tmp_path / "new").iterdir()) == []


def test_list_shows_each_template_on_one_line(tmp_path: Path) -> None:
    code, out, err = run_cli("init", "--list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == TEMPLATES
    assert all(len(line) > 40 for line in out.splitlines())
    listed = run_cli("init", "--list", "--json").json()["templates"]
    assert [entry["name"] for entry in listed] == TEMPLATES
    assert list(tmp_path.iterdir()) == []


# --- train.slurm, run with stand-ins for SLURM's commands


@contextlib.contextmanager
def job(folder: Path, srun: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The batch script under way, with `srun` standing in for SLURM's."""
    commands = folder / "bin"
    commands.mkdir()
    scripts = {
        "srun": srun,
        "scontrol": 'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "scontrol $*"; fi',
        "scancel": 'echo "scancel $*"; kill "$(cat srun.pid)"',
    }
    for name, body in scripts.items():
        (commands / name).write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "20123",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    with subprocess.Popen(
        ["bash", "train.slurm", *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as job:
        yield job


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("train.slurm is a bash script")
    run_cli("init", "job", "--template", "cluster")
    return tmp_path / "job"


def test_slurm_starts_one_torchrun_per_node(cluster: Path) -> None:
    with job(cluster, 'echo "$*"', "--max-iters", "10") as process:
        out, _ = process.communicate(timeout=30)
    assert out.split() == [
        "torchrun",
        "--nnodes=2",
        "--nproc_per_node=4",
        "--rdzv_id=20123",
        "--rdzv_backend=c10d",
        "--rdzv_endpoint=node7:20123",
        *["-m", "nanogpt_cli", "train", "--max-iters", "10"],
    ]
    assert process.returncode == 0


def test_slurm_resumes_where_a_complete_checkpoint_lies(cluster: Path) -> None:
    checkpoint = cluster / "out/gpt2-124m/checkpoints/iter_00000250"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMPLETE").touch()
    with job(cluster, 'echo "$*"') as process:
        out, _ = process.communicate(timeout=30)
    assert out.split()[-4:] == ["train", "--resume", "--out-dir", "out/gpt2-124m"]


def test_slurm_saves_and_requeues_before_the_time_is_over(cluster: Path) -> None:
    with job(cluster, "echo $$ > srun.pid; echo started; exec tail -f /dev/null") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGUSR1)
        out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-2:] == ["scancel --signal=TERM 20123", "scontrol requeue 20123"]
    assert process.returncode == 0


def test_slurm_fails_when_training_fails(cluster: Path) -> None:
    with job(cluster, "exit 3") as process:
        process.communicate(timeout=30)
    assert process.returncode == 3


def test_the_templates_on_disk_are_all_offered() -> None:
    assert {path.name for path in (templates_dir() / "project").iterdir()} == set(TEMPLATES)

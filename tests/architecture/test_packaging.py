"""Templates are found from a wheel and from a checkout, and no stale copy is ever read."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nanogpt_cli.config.presets import preset_names
from nanogpt_cli.files import templates_dir
from tests.helpers import ROOT

FIND = "from nanogpt_cli.files import templates_dir; print(templates_dir())"


def python(*args: str, path: Path | None = None) -> str:
    """Run a fresh interpreter in the test's own folder; `path` comes before everything installed."""
    env = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(
        [sys.executable, *args], env=env, capture_output=True, encoding="utf-8", check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    python(*pip)
    return folder


def test_a_checkout_reads_its_own_templates() -> None:
    assert templates_dir() == ROOT / "templates"
    assert Path(python("-c", FIND)) == ROOT / "templates"


def test_an_editable_install_carries_no_copy_of_the_templates(tmp_path: Path) -> None:
    """`force-include` put one into site-packages/nanogpt_cli, where it stayed as it was on that day."""
    build = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    name = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()
    with zipfile.ZipFile(tmp_path / name) as archive:
        outside = [entry for entry in archive.namelist() if ".dist-info/" not in entry]
        assert outside == ["_nanogpt_cli.pth"]
        assert archive.read("_nanogpt_cli.pth").decode() == str(ROOT)


def test_the_wheel_holds_every_template_and_message(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "templates").rglob("*"):
        if path.is_file():
            assert f"nanogpt_cli/templates/{path.relative_to(ROOT / 'templates').as_posix()}" in names
    for path in (ROOT / "nanogpt_cli").rglob("*.toml"):
        assert path.relative_to(ROOT).as_posix() in names
    assert "nanogpt_cli/py.typed" in names
    assert not [name for name in names if name.startswith(("templates/", "tests/"))]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_an_installed_wheel_reads_the_templates_inside_it(installed: Path) -> None:
    assert Path(python("-c", FIND, path=installed)) == installed / "nanogpt_cli" / "templates"
    listed = python("-c", "from nanogpt_cli.config.presets import *; print(preset_names())", path=installed)
    assert listed == str(preset_names())


def test_an_installed_wheel_makes_a_project(installed: Path, tmp_path: Path) -> None:
    python("-m", "nanogpt_cli", "init", "made", "--quiet", path=installed)
    assert (tmp_path / "made/nanogpt.toml").read_bytes() == (
        ROOT / "templates/project/char/nanogpt.toml"
    ).read_bytes()
    assert python("-m", "nanogpt_cli", "--version", path=installed).startswith("nanogpt 0.")

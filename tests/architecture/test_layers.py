"""The house stands as designed: imports point down, engines know no terminal, files stay readable."""

import ast
import subprocess
import sys

import pytest

from tests.architecture.layers import MAY_IMPORT, cycle, imports, violations
from tests.helpers import ROOT

MAX_LINES = 400
TOP_LEVEL = {
    *("nanogpt_cli", "templates", "tests"),
    *("pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt"),
}


def sources() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "nanogpt_cli").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


SOURCES = sources()


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    assert violations(module, SOURCES[module], sys.stdlib_module_names) == []


def test_no_import_goes_round_in_a_circle() -> None:
    assert cycle(SOURCES) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("engine.x", "from nanogpt_cli.cli import console", "engine may not use cli"),
        ("engine.x", "import nanogpt_cli.explain.report", "engine may not use explain"),
        ("engine.x", "def f():\n    from rich.text import Text", "engine may never"),
        ("engine.x", "import typer", "engine may never"),
        ("engine.x", "def f():\n    print(1)", "prints"),
        (
            "engine.models.x",
            "try:\n    import transformers\nexcept ImportError: pass",
            "only inside a function",
        ),
        ("explain.x", "from nanogpt_cli import engine", "explain may not use engine"),
        ("explain.x", "def f():\n    import torch", "explain may never"),
        ("data.x", "if True:\n    from torch.utils import data", "data may never"),
        ("data.x", "from nanogpt_cli.engine.trainer import Trainer", "data may not use engine"),
        ("data.x", "import tiktoken", "only inside a function"),
        ("data.x", "from . import prepare", "imports relatively"),
        ("config.x", "import numpy as np", "config may never"),
        ("config.x", "from nanogpt_cli.data import prepare", "config may not use data"),
        ("config.x", "from nanogpt_cli.events import Event", "config may not use events"),
        ("files", "from nanogpt_cli.config import load", "files may not use config"),
        ("errors", "from nanogpt_cli.files import write_atomic", "errors may not use files"),
        ("cli.x", "import torch", "only inside a function"),
        ("cli.x", "class A:\n    import numpy", "only inside a function"),
    ],
)
def test_a_module_that_breaks_a_rule_is_caught(module: str, source: str, complaint: str) -> None:
    (found,) = violations(f"nanogpt_cli.{module}", source, sys.stdlib_module_names)
    assert complaint in found
    assert found.startswith(f"nanogpt_cli.{module}:")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli.x", "def f():\n    import torch"),
        ("cli.x", "if TYPE_CHECKING:\n    import torch"),
        ("cli.x", "def f():\n    print(1)"),
        ("engine.x", "import torch\nfrom nanogpt_cli.data import batches"),
        ("data.x", "def f():\n    import tiktoken"),
        ("config.x", "import tomllib"),
    ],
)
def test_near_misses_are_allowed(module: str, source: str) -> None:
    assert violations(f"nanogpt_cli.{module}", source, sys.stdlib_module_names) == []


def test_a_circle_is_caught_and_a_deferred_import_breaks_it() -> None:
    a, b = "from nanogpt_cli.data import b", "from nanogpt_cli.data.a import f"
    assert set(cycle({"nanogpt_cli.data.a": a, "nanogpt_cli.data.b": b})) == {
        "nanogpt_cli.data.a",
        "nanogpt_cli.data.b",
    }
    assert cycle({"nanogpt_cli.data.a": a, "nanogpt_cli.data.b": f"def g():\n    {b}"}) == []


def test_the_rule_table_itself_has_no_circle_and_names_every_part() -> None:
    assert (
        cycle({part: "\n".join(f"import {below}" for below in down) for part, down in MAY_IMPORT.items()})
        == []
    )
    on_disk = {
        path.stem for path in (ROOT / "nanogpt_cli").iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert on_disk - {"__pycache__", "py"} <= set(MAY_IMPORT)


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\nfrom c import d as e, f\nclass G:\n    def h(self):\n        import i"
    assert [(item.name, item.line, item.deferred) for item in imports(source)] == [
        ("a.b", 1, False),
        ("c.d", 2, False),
        ("c.f", 2, False),
        ("i", 5, True),
    ]


@pytest.mark.parametrize("module", [name for name, source in SOURCES.items() if source.strip()])
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(SOURCES[module])), "a module's docstring is its contract"


def test_every_file_stays_readable() -> None:
    paths = [*ROOT.glob("nanogpt_cli/**/*.py"), *ROOT.glob("tests/**/*.py")]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_the_top_level_holds_what_the_design_allows() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    entries = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in entries - TOP_LEVEL if not name.startswith(".")} == set()

"""How nanoGPT itself takes a configuration: it executes it, over the globals of train.py.

The test's facsimiles and the benchmark's real files are compared with what `read_file` makes of them without
executing anything.
"""

import ast
import math
from dataclasses import dataclass
from pathlib import Path

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.schema import SETTINGS


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One configuration file: the keys nanoGPT takes from it, those that are lost here, and what is said."""

    keys: dict[str, object]
    lost: dict[str, object]
    warnings: tuple[str, ...]


def compare(path: Path) -> Comparison:
    """Execute the file as nanoGPT does, and read it as we do."""
    before = {"__builtins__": __builtins__}
    scope: dict[str, object] = dict(before)
    exec(path.read_text(encoding="utf-8"), scope)
    plain = (int, float, bool, str)
    keys = {k: v for k, v in scope.items() if k not in before and isinstance(v, plain)}
    loaded = load_config(path, environment={})
    ours = {name: getattr(loaded.config, name) for name in keys if name in SETTINGS}
    # Of a time that is read twice only the digits that do not move can agree.
    lost = {k: v for k, v in keys.items() if k not in ours or not _same(v, ours[k])}
    said = tuple(text for text in loaded.warnings if "wandb_log" not in text)
    return Comparison(keys=keys, lost=lost, warnings=said)


def _same(theirs: object, ours: object) -> bool:
    if isinstance(theirs, str) and isinstance(ours, str) and theirs != ours:
        number, other = theirs.rpartition("-")[2], ours.rpartition("-")[2]
        try:
            return math.isclose(float(number), float(other), abs_tol=60)  # seconds since 1970
        except ValueError:
            return False
    return theirs == ours and isinstance(ours, bool) == isinstance(theirs, bool)


def train_py_defaults(source: str) -> dict[str, object]:
    """The settings of train.py with their defaults: its assignments above `config_keys`."""
    found: dict[str, object] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if name == "config_keys":
            return found
        try:
            found[name] = eval(compile(ast.Expression(node.value), "train.py", "eval"), {})
        except NameError:  # dtype asks torch.cuda
            found[name] = ast.unparse(node.value)
    raise ValueError("not nanoGPT's train.py: it has no config_keys")

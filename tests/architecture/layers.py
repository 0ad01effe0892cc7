"""The house's rules as data, and the reading of imports they are checked with (DESIGN section 6).

A source is only parsed, never imported, so that a rule can be tried on a module that does not exist.
"""

import ast
import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PACKAGE = "nanogpt_cli"

# What each part may import of ours. Imports point down only.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "accelerators": set(),
    "files": {"errors"},
    "config": {"errors", "files"},
    "events": {"config"},
    "data": {"config", "errors", "events", "files"},
    "explain": {"accelerators", "config", "errors", "events", "files"},
    "engine": {"accelerators", "config", "data", "errors", "events", "files"},
    "cli": {"accelerators", "config", "data", "engine", "errors", "events", "explain", "files"},
    "__main__": {"cli"},
    "__init__": set(),  # its names are loaded on first use
}
# Other people's packages: nowhere in the part, not even inside a function.
NEVER: dict[str, set[str]] = {
    "accelerators": {"*"},
    "errors": {"*"},
    "files": {"*"},
    "config": {"*"},  # the standard library only
    "events": {"*"},
    "data": {"torch", "typer", "rich", "transformers", "matplotlib"},
    "explain": {"torch", "typer", "transformers"},
    "engine": {"typer", "rich"},
}
# Not when the module is imported: these cost seconds, and `nanogpt --help` needs none of them.
NOT_ON_IMPORT: dict[str, set[str]] = {
    "cli": {"torch", "numpy"},
    "*": {"datasets", "huggingface_hub", "matplotlib", "tiktoken", "tokenizers", "transformers"},
}


@dataclass(frozen=True)
class Import:
    """One import statement's target; `deferred` where it stands inside a function or for type checkers."""

    name: str
    line: int
    deferred: bool


def imports(source: str) -> list[Import]:
    """Every import of a source, wherever it stands."""
    return list(_imports(ast.parse(source), deferred=False))


def _imports(node: ast.AST, *, deferred: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, deferred)
        elif isinstance(child, ast.ImportFrom):
            prefix = "." * child.level + (child.module or "")
            for alias in child.names:
                yield Import(f"{prefix}.{alias.name}" if child.module else prefix, child.lineno, deferred)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        yield from _imports(child, deferred=deferred or inside or typing_only)


def part_of(module: str) -> str:
    """`nanogpt_cli.data.prepare` belongs to `data`."""
    return module.split(".")[1] if "." in module else "__init__"


def violations(module: str, source: str, standard_library: frozenset[str]) -> list[str]:
    """Every rule that a module's source breaks, one line each."""
    part = part_of(module)
    assert part in MAY_IMPORT, f"{module} belongs to no part of the house"
    found = []
    for item in imports(source):
        root = item.name.split(".")[0]
        where = f"{module}:{item.line}"
        if item.name.startswith("."):
            found.append(f"{where} imports relatively")
        elif root == PACKAGE:
            target = part_of(item.name)
            if target not in MAY_IMPORT[part] | {part, "__version__"}:
                found.append(f"{where} imports {item.name}: {part} may not use {target}")
        elif root in NEVER.get(part, ()) or ("*" in NEVER.get(part, ()) and root not in standard_library):
            found.append(f"{where} imports {item.name}: {part} may never")
        elif not item.deferred and root in NOT_ON_IMPORT["*"] | NOT_ON_IMPORT.get(part, set()):
            found.append(f"{where} imports {item.name}: only inside a function")
    found += [f"{module}:{line} prints" for line in _prints(source) if part != "cli"]
    return found


def _prints(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def cycle(sources: Mapping[str, str]) -> list[str]:
    """A cycle among the imports that run when modules are loaded; empty when there is none."""
    graph = {module: _targets(module, source, sources) for module, source in sources.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _targets(module: str, source: str, sources: Mapping[str, str]) -> set[str]:
    """The modules of ours that `source` loads: `from a.b import c` is a.b.c where that is a module."""
    targets = set()
    for item in imports(source):
        for name in (item.name, item.name.rpartition(".")[0]):
            if not item.deferred and name in sources:
                targets.add(name)
                break
    return targets - {module, PACKAGE}

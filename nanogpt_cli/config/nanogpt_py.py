"""nanoGPT's Python configuration files, read with `ast` and never executed.

Understood: assignments of literals, arithmetic on literals and on names assigned before
(`gradient_accumulation_steps = 5 * 8`), and what run names are made of: `str()`, f-strings and `time.time()`
(`'ft-' + str(time.time())`), which this module works out itself. Everything else is a warning that names its
line; a value that would need execution is left at what the lower layers say.
"""

import ast
import operator
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nanogpt_cli.errors import UsageError

_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {"str": str, "int": int, "float": float}
# A short file must not stop the program: neither 9**9**9, nor 'a' * 10**12, nor sixty times `n = n * n`.
_MAX_BITS = 4096  # of an integer: more than any setting needs, and short enough to be printed in an error
_MAX_TEXT = 10_000


@dataclass(kw_only=True)
class ParsedConfig:
    """Values by name, the line of each, the names that expressions read, and what was not understood."""

    values: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def read_nanogpt_py(source: str, path: str) -> ParsedConfig:
    """Parse a nanoGPT configuration; raises UsageError where it is not Python at all."""
    tree = _parse(source, path)
    parsed = ParsedConfig(used=_names_read(tree))
    notes = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            continue  # nothing is executed, so an import has no effect to warn of
        target = _target(node)
        if target is None:
            notes.append(f"{path}:{node.lineno}: not an assignment, ignored (the file is not executed)")
            continue
        name, expression = target
        try:
            parsed.values[name] = _value(expression, parsed.values)
            parsed.lines[name] = node.lineno
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            notes.append(f"{path}:{node.lineno}: {name} ignored: {error} (the file is not executed)")
    parsed.warnings = tuple(notes)
    return parsed


def _parse(source: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a '\\d' in a text is the file's business, not ours
            return ast.parse(source)
    except SyntaxError as error:
        line, reason = f":{error.lineno}" if error.lineno else "", error.msg
    except (RecursionError, MemoryError):
        line, reason = "", "nested too deeply"
    except ValueError as error:  # a null byte
        line, reason = "", str(error)
    raise UsageError(
        f"{path}{line}: not valid Python: {reason}", "write one setting a line, as in: block_size = 64"
    )


def _names_read(tree: ast.Module) -> frozenset[str]:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return frozenset(node.id for node in nodes if isinstance(node.ctx, ast.Load))


def _target(node: ast.stmt) -> tuple[str, ast.expr] | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return node.target.id, node.value
    return None


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _value(node: ast.expr, names: dict[str, object]) -> Any:
    """Evaluate literals, known names and arithmetic; raises ValueError for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not):
        operand = _value(node.operand, names)
        if isinstance(node.op, ast.Not):
            return not operand
        return -operand if isinstance(node.op, ast.USub) else +operand
    if isinstance(node, ast.BinOp):
        return _arithmetic(node.op, _value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.JoinedStr):
        return _joined(node, names)
    if isinstance(node, ast.Call) and not node.keywords:
        return _call(node, names)
    raise _not_understood(node)


def _call(node: ast.Call, names: dict[str, object]) -> Any:
    """`time.time()`, or the text or number of a value."""
    if ast.unparse(node) == "time.time()":
        return time.time()
    if isinstance(node.func, ast.Name) and node.func.id in _CONVERSIONS and len(node.args) == 1:
        return _CONVERSIONS[node.func.id](_value(node.args[0], names))
    raise _not_understood(node)


def _joined(node: ast.JoinedStr, names: dict[str, object]) -> str:
    """An f-string of values; a format such as `:.2f` is nobody's business here."""
    pieces = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            if part.format_spec is not None or part.conversion != -1:
                raise _not_understood(node)
            part = part.value
        pieces.append(str(_value(part, names)))
    _check_size(sum(map(len, pieces)), _MAX_TEXT, "text")
    return "".join(pieces)


def _not_understood(node: ast.expr) -> ValueError:
    return ValueError(f"{ast.unparse(node)} is neither a literal nor arithmetic")


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Pow):
        if isinstance(left, int) and isinstance(right, int):
            _check_size(int.bit_length(left) * abs(right), _MAX_BITS, "number")
        return left**right
    if type(op) not in _OPERATORS:
        raise ValueError(f"the operator {type(op).__name__} is not arithmetic")
    if isinstance(left, str) or isinstance(right, str):
        _check_text(op, left, right)
    result = _OPERATORS[type(op)](left, right)
    if isinstance(result, int):
        _check_size(result.bit_length(), _MAX_BITS, "number")
    return result


def _check_text(op: ast.operator, left: Any, right: Any) -> None:
    """Texts can be joined and repeated; `'%99999d' % 1` would be a way around the limit."""
    if not isinstance(op, ast.Add | ast.Mult):
        raise ValueError(f"the operator {type(op).__name__} is not for texts")
    sizes = [len(side) if isinstance(side, str) else side for side in (left, right)]
    _check_size(sum(sizes) if isinstance(op, ast.Add) else sizes[0] * sizes[1], _MAX_TEXT, "text")


def _check_size(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise ValueError(f"the {what} would be too long")

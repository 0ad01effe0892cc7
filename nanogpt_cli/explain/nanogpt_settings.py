"""nanoGPT's settings: their names, their defaults, and their values as text.

Facts from https://github.com/karpathy/nanoGPT (train.py, configurator.py).
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import Final

from nanogpt_cli.explain.records import Scalar

# train.py's settings that a diagnosis or an explanation uses, with its defaults: they hold wherever the log
# shows a header but not the setting. dataset, device and the like matter only where they are printed.
DEFAULTS: Final[dict[str, Scalar]] = {
    "eval_interval": 2000,
    "log_interval": 1,
    "eval_iters": 200,
    "eval_only": False,
    "always_save_checkpoint": True,
    "init_from": "scratch",
    "gradient_accumulation_steps": 40,
    "batch_size": 12,
    "block_size": 1024,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "dropout": 0.0,
    "learning_rate": 6e-4,
    "max_iters": 600000,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600000,
    "min_lr": 6e-5,
}
_PRINTED_ONLY: Final = {"device", "dtype", "compile", "dataset", "out_dir", "vocab_size"}
KNOWN: Final = DEFAULTS.keys() | _PRINTED_ONLY


_ARITHMETIC: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def literal(text: str) -> Scalar | None:
    """The value of a literal or of simple arithmetic (`5 * 8`); plain words stay text. Never executes."""
    text = text.strip()[:200]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd literals in a text that is only looked at
            return _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return text if re.fullmatch(r"[\w./:+-]+", text) else None


def _value(node: ast.expr) -> Scalar:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_number(node.left), _number(node.right))
    raise ValueError("not a literal")


def _number(node: ast.expr) -> int | float:
    value = _value(node)
    if isinstance(value, str):
        raise ValueError("text in arithmetic")
    return value

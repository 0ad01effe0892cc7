"""The lines nanoGPT's train.py prints, as regular expressions, and what each tells.

Facts from https://github.com/karpathy/nanoGPT (train.py, configurator.py, model.py). Lines may have a prefix
(a rank, a time stamp) and small changes seen in forks: "time 157.85 ms", "Step 250 | Train Loss: 2.2".
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.records import Ending, EvalPoint, IterPoint, Run, Scalar

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_ITER = re.compile(
    rf"(?<![\w.])iter\s+(?P<iter>\d{{1,12}}): loss (?P<loss>{_NUMBER})(?![\w.])"
    rf"(?:, time (?P<time>{_NUMBER})\s?ms)?(?:, mfu (?P<mfu>{_NUMBER})\s?%)?"
)
_EVAL = re.compile(
    rf"(?<![\w.])step\s+(?P<iter>\d{{1,12}})\s?[:|] train loss:? (?P<train>{_NUMBER})"
    rf"\s?[,|] val loss:? (?P<val>{_NUMBER})(?![\w.])(?:\s?[,|] lr:? (?P<lr>{_NUMBER}))?",
    re.IGNORECASE,
)
_TOKENS = re.compile(r"tokens per iteration will be: ([\d,]{1,20})")
_VOCAB = re.compile(r"found vocab_size = (\d{1,9})")
_PARAMS = re.compile(r"number of parameters: (\d{1,9}(?:\.\d{1,6})?)M")
_SAVING = "saving checkpoint to "
_OUR_END = re.compile(
    r"^(?P<how>finished|evaluated|interrupted and saved|terminated and saved|diverged)"
    r" after (?P<iters>\d{1,12}) iterations in "
)
_OUR_REASONS: Final = {
    "finished": "finished",
    "evaluated": "eval_only",
    "interrupted and saved": "SIGINT",
    "terminated and saved": "SIGTERM",
    "diverged": "nonfinite",
}
_OVERRIDE = re.compile(r"Overriding: (\w+) = (.*)$")
_ASSIGNMENT = re.compile(r"^\s*'?(\w{1,40})'?\s*[=:]\s*([^#]+?)\s*,?\s*(?:#.*)?$")

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


class TextReader:
    """Hands every nanoGPT line to the assembler; `feed` says whether the line was one."""

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._in_config_file = False  # between "Overriding config with" and the next known line

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of nanoGPT's."""
        # "oss" covers "Loss" too; `in` is ten times as fast as a regular expression that does not match.
        if "oss" in line and (self._iter(line) or self._eval(line)):
            self._in_config_file = False
            return True
        if line.startswith(_SAVING) or line.endswith(_SAVING.strip()):
            run = self._assembler.current
            if run.last_iter is not None:
                run.checkpoints.append(run.last_iter)
            return True
        if found := _OUR_END.match(line):
            self._assembler.current.ending = Ending(
                reason=_OUR_REASONS[found["how"]], iters=int(found["iters"])
            )
            return True
        return self._header(line)

    def _iter(self, line: str) -> bool:
        found = _ITER.search(line)
        if found is None:
            return False
        percent = float(found["mfu"]) if found["mfu"] else None
        pending = percent is not None and percent < 0
        self._assembler.add_iter(
            IterPoint(
                iter_num=int(found["iter"]),
                loss=float(found["loss"]),
                time_ms=float(found["time"]) if found["time"] else None,
                mfu=None if percent is None or pending else percent / 100,
                mfu_pending=pending,
            )
        )
        return True

    def _eval(self, line: str) -> bool:
        found = _EVAL.search(line)
        if found is None:
            return False
        self._assembler.add_eval(
            EvalPoint(
                iter_num=int(found["iter"]),
                train_loss=float(found["train"]),
                val_loss=float(found["val"]),
                lr=float(found["lr"]) if found["lr"] else None,
            )
        )
        return True

    def _header(self, line: str) -> bool:
        if "Overriding config with " in line:
            self._assembler.header()
            self._in_config_file = True
            return True
        if found := _OVERRIDE.search(line):
            _set(self._assembler.header(), found[1], found[2])
            return True
        for start, read in _HEADER_LINES:
            if start in line if read is not _ours else line.startswith(start):
                read(self._assembler.header(), line)
                self._in_config_file = False
                return True
        in_table = self._in_config_file or line.lstrip().startswith("'")
        if not in_table or self._assembler.current.has_points:
            return False
        if (found := _ASSIGNMENT.match(line)) and found[1] in KNOWN:
            _set(self._assembler.current, found[1], found[2])
            return self._in_config_file
        return False


def _tokens(run: Run, line: str) -> None:
    if found := _TOKENS.search(line):
        run.tokens_per_iter = int(found[1].replace(",", "") or 0) or None


def _vocab(run: Run, line: str) -> None:
    if found := _VOCAB.search(line):
        run.vocab_size = int(found[1])


def _gpt2_vocab(run: Run, _line: str) -> None:
    run.vocab_size = 50304


def _params(run: Run, line: str) -> None:
    if found := _PARAMS.search(line):
        run.n_params = round(float(found[1]) * 1e6) or None


def _resuming(run: Run, _line: str) -> None:
    run.resuming = True


def _pretrained(run: Run, _line: str) -> None:
    run.pretrained = True
    run.vocab_size = 50257


def _ours(run: Run, line: str) -> None:
    run.nanogpt_habits = False
    if line.startswith("device: "):
        run.device = line.removeprefix("device: ")[:200]
    elif line.startswith("peak for mfu: "):
        run.peak_source = line.removeprefix("peak for mfu: ")[:200]


def _nothing(_run: Run, _line: str) -> None:
    """A line that only shows that a process starts here."""


_HEADER_LINES: Final[tuple[tuple[str, Callable[[Run, str], None]], ...]] = (
    ("tokens per iteration will be: ", _tokens),
    ("found vocab_size = ", _vocab),
    ("defaulting to vocab_size of GPT-2 to 50304", _gpt2_vocab),
    ("number of parameters: ", _params),
    ("Resuming training from ", _resuming),
    ("Initializing from OpenAI GPT-2 weights", _pretrained),
    ("Initializing a new model from scratch", _nothing),
    ("compiling the model... ", _nothing),
    ("using fused AdamW: ", _nothing),
    ("run directory: ", _ours),  # this and the next two are in our train.log only
    ("device: ", _ours),
    ("peak for mfu: ", _ours),
)


def _set(run: Run, name: str, text: str) -> None:
    if name in KNOWN and (value := literal(text)) is not None:
        run.config[name] = value


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

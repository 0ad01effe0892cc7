"""nanoGPT's .py configuration: what is understood, what is warned of, and that nothing runs."""

import time
from pathlib import Path

import pytest

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.nanogpt_py import read_nanogpt_py
from nanogpt_cli.errors import UsageError

# Written for this test in the manner of nanoGPT's config files.
FINETUNE = '''"""finetune on a small text"""
import time

out_dir = 'out-small'
eval_interval = 5
wandb_run_name = 'ft-' + str(time.time())
init_from = 'gpt2'  # the smallest

# 1 sequence * 32 micro-batches * 1024 tokens = 32,768 tokens per iteration
batch_size = 1
gradient_accumulation_steps = 4 * 8
learning_rate: float = 3e-5
decay_lr = not True
max_iters = eval_interval * 4
'''


def test_a_config_in_nanogpts_manner() -> None:
    parsed = read_nanogpt_py(FINETUNE, "finetune.py")
    name = str(parsed.values.pop("wandb_run_name"))
    assert name.startswith("ft-")
    assert abs(float(name.removeprefix("ft-")) - time.time()) < 60
    assert parsed.values == {
        "out_dir": "out-small",
        "eval_interval": 5,
        "init_from": "gpt2",
        "batch_size": 1,
        "gradient_accumulation_steps": 32,
        "learning_rate": 3e-5,
        "decay_lr": False,
        "max_iters": 20,
    }
    assert parsed.lines["gradient_accumulation_steps"] == 11
    assert parsed.warnings == ()


def test_its_values_and_warnings_reach_the_configuration(tmp_path: Path) -> None:
    text = FINETUNE + "wandb_project = open('shakespeare').read()\n"
    (tmp_path / "finetune.py").write_text(text, encoding="utf-8")
    loaded = load_config("finetune.py", environment={})
    assert loaded.config.gradient_accumulation_steps == 32
    assert loaded.config.wandb_project == "owt"  # the default: what needs execution is left out
    assert loaded.origins["max_iters"] == "finetune.py:14"
    assert loaded.warnings[0].startswith("finetune.py:15: wandb_project ignored: ")
    assert "not executed" in loaded.warnings[0]
    assert loaded.label == "finetune"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-1", -1),
        ("+2", 2),
        ("5 * 8", 40),
        ("600000 // 7", 85714),
        ("1 / 4", 0.25),
        ("10 % 3", 1),
        ("2 ** 10", 1024),
        ("2 - 3 + 4", 3),
        ("(1 + 2) * 3", 9),
        ("1e-3", 1e-3),
        ("True", True),
        ("not 0", True),
        ("'ab' * 2 + 'c'", "ababc"),
        ("1_000", 1000),
        ("str(1 + 1) + 'x'", "2x"),
        ("int('12') * float(2)", 24.0),
        ("f'run-{2 * 3}'", "run-6"),
    ],
)
def test_literals_and_arithmetic(expression: str, value: object) -> None:
    parsed = read_nanogpt_py(f"x = {expression}", "c.py")
    assert parsed.values == {"x": value}
    assert type(parsed.values["x"]) is type(value)


@pytest.mark.parametrize(
    "line",
    [
        "x = open('written', 'w')",
        "open('written', 'w').write('x')",
        "x = __import__('os').system('touch written')",
        "exec(\"open('written', 'w')\")",
        "for x in [open('written', 'w')]: pass",
        "if open('written', 'w'): x = 1",
        "def f(x=open('written', 'w')): pass",
        "@open('written', 'w')\ndef f(): pass",
        "class A: x = open('written', 'w')",
        'x = f\'{open("written", "w")}\'',
        "x = [open('written', 'w') for _ in 'a']",
        "x: int = open('written', 'w')",
        "x = y = 3",
        "a, b = 1, 2",
        "x += 1",
        "x = unknown",
        "x = [1, 2]",
        "x = None",
        "x = 1 << 3",
        "x = int('a')",
        "x = str()",
        "x = str(b'a', encoding='utf-8')",
        "x = f'{1:.2f}'",
        "x = f'{1!r}'",
        "x = time.time",
        "x = time.time(open('written', 'w'))",
        "x = time.sleep(9)",
        "x = 1 / 0",
        "x = 'a' - 1",
        "x = -'a'",
    ],
)
def test_everything_else_is_a_warning_with_its_line_and_nothing_runs(line: str, tmp_path: Path) -> None:
    parsed = read_nanogpt_py(f"batch_size = 4\n{line}\nblock_size = 8", "c.py")
    assert parsed.values == {"batch_size": 4, "block_size": 8}
    (warning,) = parsed.warnings
    assert warning.startswith("c.py:2: " if not line.startswith("@") else "c.py:3: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 9**9**9",
        "x = ((10**1000)**1000)**1000",
        "x = 2\n" + "x = x * x\n" * 60,
        "x = 'a' * 10**12",
        "x = 10**12 * 'a'",
        "x = 'a'\n" + "x = x + x\n" * 60,
        "x = '%1000000000d' % 1",
        'x = f\'{"a" * 9000}{"b" * 9000}\'',
        "x = 2.0**10**9",
        "x = 2**-10**9",
    ],
)
def test_a_small_file_cannot_ask_for_a_huge_value(source: str) -> None:
    """The exponent alone was limited once: squaring in steps, and %-formatting, went around it."""
    started = time.monotonic()
    parsed = read_nanogpt_py(source, "c.py")
    assert parsed.warnings
    assert len(str(parsed.values.get("x", ""))) <= 10_000
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("batch_size = \n", r"c\.py:1: not valid Python"),
        ("a = 1\n)", r"c\.py:2: not valid Python"),
        ("a = 1\0", r"c\.py: not valid Python"),
        ("a = " + "-" * 100_000 + "1", r"c\.py: not valid Python: nested too deeply"),
        ("a = " + "(" * 1000 + "1" + ")" * 1000, r"c\.py:1: not valid Python: too many nested"),
    ],
)
def test_what_is_not_python_is_an_error_with_its_line(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_nanogpt_py(source, "c.py")


def test_an_odd_escape_in_a_text_is_not_our_warning() -> None:
    """ast.parse warns of '\\d' on stderr, in Python's words; pytest would make it an error here."""
    assert read_nanogpt_py("dataset = 'a\\d'", "c.py").values == {"dataset": "a\\d"}


def test_an_empty_file_sets_nothing() -> None:
    parsed = read_nanogpt_py("# nothing\n", "c.py")
    assert (parsed.values, parsed.warnings) == ({}, ())

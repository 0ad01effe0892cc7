"""Every kind of configuration that nanoGPT ships, read without loss: keys, values and how they are written.

The files are written here; their keys and values are those of nanoGPT's config/*.py, which
tests/benchmarks/nanogpt_configs.py checks themselves.
"""

from pathlib import Path

import pytest

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.schema import SETTINGS
from tests.config.nanogpt_oracle import compare

EVALUATION = "batch_size = 8\neval_iters = 500\neval_only = True\nwandb_log = False\ninit_from = '{name}'\n"
FILES = {
    "eval_gpt2.py": EVALUATION.format(name="gpt2"),
    "eval_gpt2_medium.py": EVALUATION.format(name="gpt2-medium"),
    "eval_gpt2_large.py": EVALUATION.format(name="gpt2-large"),
    "eval_gpt2_xl.py": EVALUATION.format(name="gpt2-xl"),
    "finetune_shakespeare.py": """
import time
out_dir = 'out-shakespeare'
eval_interval = 5
eval_iters = 40
wandb_log = False # a comment
wandb_project = 'shakespeare'
wandb_run_name = 'ft-' + str(time.time())
dataset = 'shakespeare'
init_from = 'gpt2-xl'
always_save_checkpoint = False
batch_size = 1
gradient_accumulation_steps = 32
max_iters = 20
learning_rate = 3e-5
decay_lr = False
""",
    "train_gpt2.py": """
wandb_log = True
wandb_project = 'owt'
wandb_run_name='gpt2-124M'
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
eval_interval = 1000
eval_iters = 200
log_interval = 10
weight_decay = 1e-1
""",
    "train_shakespeare_char.py": """
out_dir = 'out-shakespeare-char'
eval_interval = 250
eval_iters = 200
log_interval = 10
always_save_checkpoint = False
wandb_log = False
wandb_project = 'shakespeare-char'
wandb_run_name = 'mini-gpt'
dataset = 'shakespeare_char'
gradient_accumulation_steps = 1
batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2
learning_rate = 1e-3
max_iters = 5000
lr_decay_iters = 5000
min_lr = 1e-4
beta2 = 0.99
warmup_iters = 100
# device = 'cpu'
# compile = False
""",
    "own.py": """
n_gpus = 4 # a step on the way: no setting, and used below
gradient_accumulation_steps = 5 * n_gpus
wandb_run_name = f'gpus{n_gpus}-{1 + 1}'
backend = 'gloo'
device = 'cpu'
dtype = 'float16'
compile = False
bias = not False
beta1: float = 0.8
grad_clip = 0.0
min_lr = 6e-4 / 10
""",
}
# The keys of train.py, and the defaults that are the same here. Elsewhere nanoGPT assumes an A100, a folder
# named openwebtext, and `out`.
DEFAULTS = {
    "eval_interval": 2000,
    "log_interval": 1,
    "eval_iters": 200,
    "eval_only": False,
    "always_save_checkpoint": True,
    "init_from": "scratch",
    "wandb_log": False,
    "wandb_project": "owt",
    "wandb_run_name": "gpt2",
    "gradient_accumulation_steps": 40,
    "batch_size": 12,
    "block_size": 1024,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "dropout": 0.0,
    "bias": False,
    "learning_rate": 6e-4,
    "max_iters": 600000,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600000,
    "min_lr": 6e-5,
}
MACHINE = {"out_dir": "out", "dataset": "openwebtext", "backend": "nccl", "device": "cuda:0"}
MACHINE |= {"dtype": "float16", "compile": "True"}


@pytest.mark.parametrize("name", FILES)
def test_no_key_of_a_file_is_lost(name: str) -> None:
    Path(name).write_text(FILES[name], encoding="utf-8")
    found = compare(Path(name))
    lost = {key: value for key, value in found.lost.items() if key != "n_gpus"}
    assert (lost, found.warnings) == ({}, ())
    assert len(found.keys) >= 5


def test_a_lost_key_would_be_seen() -> None:
    Path("c.py").write_text(
        "import math\nmax_iters = round(math.pi)\nwandb_run_name = 'a'\n", encoding="utf-8"
    )
    found = compare(Path("c.py"))
    assert found.lost == {"max_iters": 3}
    assert found.warnings[0].startswith("c.py:2: max_iters ignored: ")


def test_every_key_of_train_py_is_a_setting_with_its_default() -> None:
    assert {name: SETTINGS[name].default for name in DEFAULTS} == DEFAULTS
    flags = {name: str(value) for name, value in {**DEFAULTS, **MACHINE}.items()}
    loaded = load_config(flags=flags, environment={})
    assert len(flags) == 33
    assert all(loaded.origins[name].startswith("flag --") for name in flags)
    assert (loaded.config.compile, loaded.config.device, loaded.config.dtype) == (True, "cuda:0", "float16")


def test_later_files_and_flags_win_as_in_nanogpts_configurator() -> None:
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    loaded = load_config(
        "train_shakespeare_char.py", "finetune_shakespeare.py", flags={"max_iters": "7"}, environment={}
    )
    config = loaded.config
    assert (config.n_layer, config.batch_size, config.max_iters, config.decay_lr) == (6, 1, 7, False)


def test_an_unused_name_is_still_an_error() -> None:
    """Only what another line is made of passes: a misspelt setting is read by nobody."""
    Path("c.py").write_text("n_layers = 4\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"c\.py:1: unknown setting 'n_layers' \(did you mean n_layer\?\)"):
        load_config("c.py", environment={})


def test_a_file_without_a_dataset_means_openwebtext_where_it_is_prepared() -> None:
    """nanoGPT's train_gpt2.py names none; the newest dataset would be another one."""
    Path("train_gpt2.py").write_text(FILES["train_gpt2.py"], encoding="utf-8")
    Path("data/openwebtext").mkdir(parents=True)
    assert load_config("train_gpt2.py", environment={}).config.dataset == ""  # only its prepare.py is there
    Path("data/openwebtext/train.bin").write_bytes(b"\0\0")
    loaded = load_config("train_gpt2.py", environment={})
    assert (loaded.config.dataset, loaded.origins["dataset"]) == ("openwebtext", "nanoGPT's default")
    named = load_config("train_gpt2.py", flags={"dataset": "mine"}, environment={})
    assert named.config.dataset == "mine"
    Path("c.toml").write_text("seed = 1\n", encoding="utf-8")
    assert load_config("c.toml", environment={}).config.dataset == ""

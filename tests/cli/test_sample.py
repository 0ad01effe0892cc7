"""`nanogpt sample`: text on stdout and nothing else there, prompts from anywhere, and its refusals."""

import os
from pathlib import Path

import pytest

from nanogpt_cli.engine import flops
from tests.cli.tiny_run import RUN, prepare, train, trained
from tests.gpt2_vocabulary import seed_tiktoken_cache
from tests.helpers import Result, run_cli

SHORT = ("--max-new-tokens", 20)


@pytest.fixture(autouse=True)
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)
    trained()


def test_text_on_stdout_words_on_stderr() -> None:
    result = run_cli("sample", "--prompt", "El niño", *SHORT)
    assert result.code == 0
    assert result.out.startswith("El niño")
    assert len(result.out) == len("El niño") + 20 + 1
    assert result.out.endswith("\n")
    said = result.err.splitlines()
    assert said[0].startswith(f"sampling from {RUN}")
    assert said[1].startswith("20 tokens in ")
    assert said[2] == "next: nanogpt explain-log"
    assert "\x1b" not in result.out + result.err


def test_quiet_leaves_only_the_text() -> None:
    result = run_cli("sample", "--quiet", *SHORT)
    assert result.err == ""
    assert len(result.out) == 1 + 20 + 1


def test_a_run_or_one_of_its_checkpoints_can_be_the_start_as_in_train() -> None:
    """A run's folder was looked for on the Hugging Face hub."""
    named = run_cli("sample", RUN, *SHORT)
    for start in (RUN, sorted(Path(RUN, "checkpoints").iterdir())[-1]):
        given = run_cli("sample", "--init_from", start, *SHORT)
        assert (given.code, given.out) == (0, named.out), given.err


def test_json() -> None:
    result = run_cli("sample", "--prompt", "你", "-n", 2, "--json", *SHORT)
    document = result.json()
    assert list(document) == ["schema_version", "prompt", "samples", "tokens_per_second"]
    assert document["prompt"] == "你"
    assert [len(text) for text in document["samples"]] == [21, 21]
    assert all(text.startswith("你") for text in document["samples"])
    assert document["tokens_per_second"] > 0
    assert "你" in result.out, "text is not escaped"


def test_the_seed_fixes_the_text() -> None:
    texts = [run_cli("sample", "--seed", seed, *SHORT).out for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_several_samples_are_separated_as_nanogpt_does() -> None:
    out = run_cli("sample", "-n", 3, *SHORT).out
    samples = out.split("\n---------------\n")
    assert len(samples) == 4
    assert samples[-1] == ""
    assert len(set(samples[:3])) == 3


def test_the_second_sample_is_the_first_of_the_next_seed() -> None:
    two = run_cli("sample", "-n", 2, "--seed", 5, "--json", *SHORT).json()["samples"]
    one = run_cli("sample", "--seed", 6, "--json", *SHORT).json()["samples"]
    assert two[1] == one[0]


def test_temperature_0_and_top_k_1_agree() -> None:
    cold = run_cli("sample", "--temperature", 0, *SHORT).out
    assert run_cli("sample", "--top-k", 1, "--seed", 9, *SHORT).out == cold


def test_several_samples_are_the_same_however_they_are_shown() -> None:
    options = ("-n", 3, "--stop", "\n", "--temperature", 2, *SHORT)
    samples = run_cli("sample", "--json", *options).json()["samples"]
    assert run_cli("sample", *options).out == "".join(f"{text}\n---------------\n" for text in samples)


def test_every_filter_reaches_the_draws() -> None:
    """Each at its strictest leaves only the likeliest; the penalty changes even that."""
    cold = run_cli("sample", "--temperature", 0, *SHORT).out
    assert run_cli("sample", *SHORT).out != cold
    assert run_cli("sample", "--top-p", 0, *SHORT).out == cold
    assert run_cli("sample", "--min-p", 1, *SHORT).out == cold
    assert run_cli("sample", "--temperature", 0, "--repetition-penalty", 3, *SHORT).out != cold


def test_a_stop_string_ends_the_text_before_it() -> None:
    """Given as the shell gives it: a backslash and an n are a new line."""
    whole = run_cli("sample", "-p", "El", "--max-new-tokens", 200, "-q").out
    assert "\n" in whole.rstrip("\n")
    cut = run_cli("sample", "-p", "El", "--max-new-tokens", 200, "-q", "--stop", r"\n", "--stop", "\0").out
    assert cut == whole[: whole.index("\n") + 1]


def test_the_stride_changes_what_a_full_context_holds() -> None:
    """block_size is 8: a quarter is 2."""
    texts = {k: run_cli("sample", "--stride", k, "--max-new-tokens", 200, "-q").out for k in (0, 1, 2)}
    assert texts[0] == texts[2] != texts[1]
    assert texts[1][:8] == texts[2][:8]


def test_written_in_turns() -> None:
    """Each turn goes on from everything so far, as one command would from that text; its seed is the next."""
    result = run_cli("sample", "-i", "--seed", 3, *SHORT, stdin="El niño\n\nÉ?\n la\n")
    assert result.code == 0, result.err
    first = run_cli("sample", "--prompt", "El niño", "--seed", 3, "-q", *SHORT).out.removesuffix("\n")
    second = run_cli("sample", "--prompt", first, "--seed", 4, "-q", *SHORT).out.removesuffix("\n")
    third = run_cli("sample", "--prompt", second + " la", "--seed", 5, "-q", *SHORT).out.removesuffix("\n")
    turns = [first.removeprefix("El niño"), second.removeprefix(first), third.removeprefix(second + " la")]
    assert result.out == "".join(f"{turn}\n" for turn in turns)
    assert "error: the prompt has a character the vocabulary does not: 'É'" in result.err
    assert "> " not in result.err, "nobody sits at the other end"


def test_turns_begin_with_the_prompt() -> None:
    given = run_cli("sample", "-i", "-p", "El ", "-q", *SHORT, stdin="niño\n").out
    assert given == run_cli("sample", "-p", "El niño", "-q", *SHORT).out.removeprefix("El niño")
    assert run_cli("sample", "-i", "-q", *SHORT, stdin="\n").out == run_cli("sample", "-q", *SHORT).out[1:]


def test_prompts_from_a_file_and_from_stdin() -> None:
    Path("prompt.txt").write_text("Où est", encoding="utf-8")
    expected = run_cli("sample", "--prompt", "Où est", *SHORT).out
    assert run_cli("sample", "--prompt", "FILE:prompt.txt", *SHORT).out == expected
    assert run_cli("sample", "--start=FILE:prompt.txt", f"--out_dir={RUN}", *SHORT).out == expected
    assert run_cli("sample", "--prompt", "-", *SHORT, stdin="Où est").out == expected


def test_a_byte_order_mark_is_no_part_of_a_prompt() -> None:
    Path("prompt.txt").write_text("The", encoding="utf-8-sig")
    assert run_cli("sample", "--prompt", "FILE:prompt.txt", *SHORT).out.startswith("The")


def test_nanogpts_compile_is_accepted() -> None:
    result = run_cli("sample", "--compile=False", RUN, f"--out_dir={RUN}", "--seed", 2**63 - 1, *SHORT)
    assert result.code == 0, result.err
    assert "warning" not in result.err
    assert "warning: --compile is not used for sampling" in run_cli("sample", "--compile", *SHORT).err
    assert "--compile" not in run_cli("sample", "--help").out


def test_characters_of_a_byte_vocabulary_come_out_whole() -> None:
    prepare("你好，世界。El niño. " * 60, "--tokenizer", "byte")
    assert train("--overwrite").code == 0
    out = run_cli("sample", "--prompt", "你", *SHORT).out
    assert out.startswith("你")


def test_a_text_in_one_line_can_be_sampled_without_a_prompt() -> None:
    Path("line.txt").write_text("To be, or not to be, that is the question. " * 20)
    assert run_cli("prepare", "line.txt").code == 0
    assert run_cli("train", "--preset", "cpu-tiny", "--dataset", "line", "--max_iters", 1, "-q").code == 0
    result = run_cli("sample", *SHORT)
    assert (result.code, len(result.out)) == (0, 1 + 20 + 1)
    assert "the text had no newline: going on from ' '" in result.err


def test_a_checkpoint_folder_can_be_named() -> None:
    path = RUN / "checkpoints" / "iter_00000003"
    result = run_cli("sample", path, *SHORT)
    assert str(path) in result.err


# --- Refusals


def assert_refused(result: Result, code: int, message: str, hint: str) -> None:
    assert result.code == code, result.err
    assert result.out == ""
    error, said = [line for line in result.err.splitlines() if not line.startswith("sampling from")]
    assert error.startswith("error: ")
    assert message in error
    assert said.startswith("hint: ")
    assert hint in said


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["--prompt", "Größe ß"], 1, "the prompt has 4 characters the vocabulary does not: 'G'", "byte"),
        (["--prompt", ""], 2, "the prompt is empty", 'nanogpt sample --prompt "The "'),
        (["--seed", str(2**63)], 2, "--seed", "nanogpt sample --help"),
        (["--compile=maybe"], 2, "--compile must be True or False or auto", "leave it out"),
        ([str(RUN), "--out-dir", "out/other"], 2, f"RUN is {RUN} and --out-dir is out/other", str(RUN)),
        (["--prompt", "FILE:none.txt"], 2, "there is no prompt file none.txt", "FILE:"),
        (["nowhere"], 2, "there is no run nowhere", str(RUN)),
        (["--temperature", "-1"], 2, "--temperature", "nanogpt sample --help"),
        (["--temperature", "inf"], 2, "--temperature must be a finite number, not inf", "leave"),
        (["--top-p", "1.5"], 2, "--top-p", "nanogpt sample --help"),
        (["--stride", "9"], 2, "--stride 9 is more than the context holds (8 tokens)", "--stride 8"),
        (["-i", "--json"], 2, "--json and --interactive", "nanogpt sample --interactive"),
        (["-i", "-n", "2"], 2, "--num-samples and --interactive", "nanogpt sample --interactive"),
        (["-i", "-p", "-"], 2, "--prompt - and --interactive", "nanogpt sample --interactive"),
        (["--max-new-tokens", "0"], 2, "--max-new-tokens", "nanogpt sample --help"),
        (["--device", "cuda"], 2, "no CUDA GPU", "--device cpu"),
    ],
)
def test_wrong_input(
    arguments: list[str], code: int, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(run_cli("sample", *arguments), code, message, hint)


def test_a_prompt_file_that_is_not_text() -> None:
    Path("prompt.bin").write_bytes(b"ab\xff")
    assert_refused(run_cli("sample", "-p", "FILE:prompt.bin"), 2, "not UTF-8 text (byte 2)", "text file")


def test_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert_refused(run_cli("sample"), 1, "there is no trained run under out/", "nanogpt train")


def test_pretrained_weights_without_a_run() -> None:
    import transformers

    seed_tiktoken_cache(Path(os.environ["TIKTOKEN_CACHE_DIR"]))
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained("served")
    result = run_cli("sample", "--init-from", "served", "--prompt", "Hello", "--max-new-tokens", 5)
    assert result.code == 0, result.err
    assert result.out.startswith("Hello")

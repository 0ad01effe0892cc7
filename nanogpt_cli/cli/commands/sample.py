"""`nanogpt sample`: text from a trained run, printed as it is made."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.dialogue import show, write_in_turns
from nanogpt_cli.cli.loading import load_torch
from nanogpt_cli.cli.options import DeviceOption, DtypeOption, JsonOption, QuietOption
from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from nanogpt_cli.data.tokenizers.base import Tokenizer
    from nanogpt_cli.engine.device import Hardware
    from nanogpt_cli.engine.models.base import LanguageModel
    from nanogpt_cli.engine.writing import Writer

_SEPARATOR = "---------------"  # nanoGPT's, between samples
_NEWLINE = "\n"  # nanoGPT's prompt
_CHOICE, _LENGTH = "Choice of tokens", "Length"


def sample_command(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run or checkpoint folder; the newest run if left out."),
    ] = None,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", "-p", "--start", help="Text to go on from; FILE:path reads a file, - stdin."
        ),
    ] = _NEWLINE,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Write in turns: you type a line, the model goes on.")
    ] = False,
    num_samples: Annotated[int, typer.Option("--num-samples", "-n", min=1, help="How many texts.")] = 1,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0.0,
            help="0 takes the likeliest; above 1 is wilder.",
            rich_help_panel=_CHOICE,
        ),
    ] = 0.8,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", min=0, help="Draw among the k likeliest; 0: among all.", rich_help_panel=_CHOICE
        ),
    ] = 200,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p",
            min=0.0,
            max=1.0,
            help="Draw among the fewest that together have this probability.",
            rich_help_panel=_CHOICE,
        ),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            "--min-p",
            min=0.0,
            max=1.0,
            help="Leave out what is less than this times as likely as the likeliest.",
            rich_help_panel=_CHOICE,
        ),
    ] = 0.0,
    repetition_penalty: Annotated[
        float,
        typer.Option(
            "--repetition-penalty",
            min=0.01,
            help="Above 1 makes what was said already less likely.",
            rich_help_panel=_CHOICE,
        ),
    ] = 1.0,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            max=2**63 - 1,
            metavar="INT",
            help="The same seed gives the same text; the next text has the next.",
            rich_help_panel=_CHOICE,
        ),
    ] = 1337,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Tokens per text.", rich_help_panel=_LENGTH)
    ] = 500,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop",
            metavar="TEXT",
            help="End before this text; \\n is a new line. May be given several times.",
            rich_help_panel=_LENGTH,
        ),
    ] = None,
    stride: Annotated[
        int,
        typer.Option(
            "--stride",
            min=0,
            help="Tokens a full context forgets at a time; 0: a quarter of block_size, 1: slow, as nanoGPT.",
            rich_help_panel=_LENGTH,
        ),
    ] = 0,
    checkpoint: Annotated[
        Literal["best", "last"], typer.Option("--checkpoint", help="Lowest val loss, or the last saved.")
    ] = "best",
    init_from: Annotated[
        str, typer.Option("--init-from", help="resume (a run), or gpt2, gpt2-medium …: no run is needed.")
    ] = "resume",
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", help="The same as RUN, as nanoGPT says it.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    compile: Annotated[str, typer.Option("--compile", hidden=True)] = "False",  # nanoGPT's
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write text with a trained model."""
    if run is not None and out_dir is not None and run.resolve() != out_dir.resolve():
        raise UsageError(f"RUN is {run} and --out-dir is {out_dir}: which one?", f"nanogpt sample {run}")
    _check_finite(temperature=temperature, repetition_penalty=repetition_penalty, top_p=top_p, min_p=min_p)
    if interactive:
        _check_interactive(prompt, num_samples, json)
    _check_compile(compile, quiet=quiet)
    text = _read_prompt(prompt)

    load_torch()
    from nanogpt_cli.engine.device import choose_inference_hardware
    from nanogpt_cli.engine.sampling import Sampling
    from nanogpt_cli.engine.writing import Writer

    hardware = choose_inference_hardware(device, dtype)
    model, tokenizer, vocab_size, where = _load(run or out_dir, init_from, checkpoint, hardware)
    if stride > model.config.block_size:
        raise UsageError(
            f"--stride {stride} is more than the context holds ({model.config.block_size} tokens)",
            f"use at most --stride {model.config.block_size}",
        )
    if not json:
        console.note(f"sampling from {where}", quiet=quiet)
    if text == _NEWLINE and tokenizer.kind == "char" and _NEWLINE not in tokenizer.decode(range(vocab_size)):
        text = tokenizer.decode([0])  # a text in one line; nothing else is known to begin one
        console.note(f"the text had no newline: going on from {text!r}", quiet=quiet or json)
    writer = Writer(
        model=model,
        tokenizer=tokenizer,
        hardware=hardware,
        vocab_size=vocab_size,
        sampling=Sampling(
            temperature=temperature,
            top_k=top_k or None,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        ),
        max_new_tokens=max_new_tokens,
        stop=[string.replace("\\n", "\n") for string in stop or ()],
        stride=stride or None,
    )
    if interactive:
        write_in_turns(writer, text, given=prompt != _NEWLINE, seed=seed, quiet=quiet)
        return
    start = time.perf_counter()
    samples = _write_samples(writer, text, seed, num_samples, quiet=json)
    seconds = time.perf_counter() - start
    rate = writer.tokens / seconds if seconds else 0.0
    if json:
        document = {"schema_version": 1, "prompt": text, "samples": samples, "tokens_per_second": rate}
        console.print_json(document)
        return
    console.note(f"{writer.tokens} tokens in {seconds:.1f} s, {rate:.0f} tokens/s", quiet=quiet)
    console.next_step("nanogpt explain-log" if init_from == "resume" else "nanogpt train --help", quiet=quiet)


def _write_samples(writer: "Writer", text: str, seed: int, count: int, *, quiet: bool) -> list[str]:
    """All texts, made side by side; shown one after another, the first as it comes."""
    samples = [text] * count
    ended = [False] * count
    current, shown = 0, 0  # the text on the screen, and how much of it
    for piece in writer.write(writer.tokenizer.encode(text), range(seed, seed + count)):
        samples[piece.number] += piece.text
        ended[piece.number] |= piece.last
        while not quiet and current < count:
            show(samples[current][shown:])
            shown = len(samples[current])
            if not ended[current]:
                break
            show(f"\n{_SEPARATOR}\n" if count > 1 else "\n")
            current, shown = current + 1, 0
    return samples


def _check_finite(**numbers: float) -> None:
    """`inf` is a number to the command line."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} must be a finite number, not {value}", f"leave {flag} out")


def _check_interactive(prompt: str, num_samples: int, json: bool) -> None:
    for wrong, flag in ((json, "--json"), (num_samples > 1, "--num-samples"), (prompt == "-", "--prompt -")):
        if wrong:
            raise UsageError(f"{flag} and --interactive do not go together", "nanogpt sample --interactive")


def _check_compile(value: str, *, quiet: bool) -> None:
    """nanoGPT's sample.py has the flag; here nothing is compiled."""
    try:
        wanted = SETTINGS["compile"].parse(value)
    except ValueError as error:
        raise UsageError(f"--compile must be {error}", "leave it out: sampling does not compile") from None
    if wanted is True:
        console.warn("--compile is not used for sampling", quiet=quiet)


def _load(
    run: Path | None, init_from: str, checkpoint: str, hardware: "Hardware"
) -> "tuple[LanguageModel, Tokenizer, int, str]":
    """The model, its tokenizer, how many ids may be drawn, and where it is from."""
    from nanogpt_cli.engine.runs import load_run, means_run

    if init_from != "resume" and means_run(Path(init_from)):
        run, init_from = Path(init_from), "resume"
    if init_from == "resume":
        from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE

        loaded = load_run(run, hardware=hardware, which=checkpoint)
        if loaded.tokenizer is None:
            raise NanoGPTError(
                f"{loaded.run_dir} has no tokenizer: its dataset did not say how ids become text",
                f"put the one its tokens were made with there: cp ITS/{TOKENIZER_FILE} {loaded.run_dir}/ "
                "(any prepared dataset has one)",
            )
        where = str(loaded.checkpoint.path)
        return loaded.model, loaded.tokenizer, loaded.tokenizer.vocab_size, where
    from nanogpt_cli.data.tokenizers.base import build_tokenizer
    from nanogpt_cli.engine.interop.hf import load_gpt2
    from nanogpt_cli.engine.models.registry import build_model

    shape, weights = load_gpt2(init_from)
    tokenizer = build_tokenizer("gpt2")
    model = build_model(shape, weights).to(hardware.device)
    return model, tokenizer, min(tokenizer.vocab_size, shape.vocab_size), init_from


def _read_prompt(prompt: str) -> str:
    """The prompt's text: as given, from a file (nanoGPT's `FILE:path`), or from stdin (`-`)."""
    if prompt == "-":
        text = sys.stdin.read()
    elif prompt.startswith("FILE:"):
        path = Path(prompt.removeprefix("FILE:"))
        if not path.is_file():
            raise UsageError(
                f"there is no prompt file {path}", 'nanogpt sample --prompt "FILE:path/to/file.txt"'
            )
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{path} is not UTF-8 text (byte {error.start})", "name a text file, or type the prompt"
            ) from None
    else:
        text = prompt
    if not text:
        raise UsageError(
            "the prompt is empty: a model needs something to go on from", 'nanogpt sample --prompt "The "'
        )
    return text

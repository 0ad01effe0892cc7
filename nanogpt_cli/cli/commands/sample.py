"""`nanogpt sample`: text from a trained run, printed as it is made."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nanogpt_cli.cli import console
from nanogpt_cli.cli.options import DeviceOption, DtypeOption, JsonOption, QuietOption
from nanogpt_cli.config.schema import SETTINGS
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanogpt_cli.data.tokenizers.base import Tokenizer
    from nanogpt_cli.engine.device import Hardware
    from nanogpt_cli.engine.models.base import LanguageModel

_SEPARATOR = "---------------"  # nanoGPT's, between samples
_NEWLINE = "\n"  # nanoGPT's prompt


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
    num_samples: Annotated[int, typer.Option("--num-samples", "-n", min=1, help="How many texts.")] = 1,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens per text.")] = 500,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest; above 1 is wilder.")
    ] = 0.8,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="Draw among the k likeliest; 0: among all.")
    ] = 200,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, max=2**63 - 1, metavar="INT", help="The same seed gives the same text."
        ),
    ] = 1337,
    checkpoint: Annotated[
        Literal["best", "last"], typer.Option("--checkpoint", help="Lowest val loss, or the last saved.")
    ] = "best",
    init_from: Annotated[
        str, typer.Option("--init-from", help="resume (RUN), or what train takes: gpt2, a folder, ckpt.pt.")
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
    _check_compile(compile, quiet=quiet)
    text = _read_prompt(prompt)

    from nanogpt_cli.engine.device import choose_inference_hardware
    from nanogpt_cli.engine.generate import generate
    from nanogpt_cli.engine.text_stream import stream_text

    hardware = choose_inference_hardware(device, dtype)
    model, tokenizer, vocab_size, where = _load(run or out_dir, init_from, checkpoint, hardware)
    if not json:
        console.note(f"sampling from {where}", quiet=quiet)
    if text == _NEWLINE and tokenizer.kind == "char" and _NEWLINE not in tokenizer.decode(range(vocab_size)):
        text = tokenizer.decode([0])  # a text in one line; nothing else is known to begin one
        console.note(f"the text had no newline: going on from {text!r}", quiet=quiet or json)
    prompt_ids = tokenizer.encode(text)
    samples: list[str] = []
    n_tokens, seconds = 0, 0.0
    for number in range(num_samples):
        ids: list[int] = []

        def counted(source: "Iterator[int]", ids: list[int] = ids) -> "Iterator[int]":
            for token in source:
                ids.append(token)
                yield token

        start = time.perf_counter()
        tokens = generate(
            model,
            prompt_ids,
            max_new_tokens=max_new_tokens,
            hardware=hardware,
            vocab_size=vocab_size,
            temperature=temperature,
            top_k=top_k or None,
            seed=seed + number,
            stop_token=tokenizer.end_of_text,
        )
        pieces = [text]
        if not json:
            _write(text)
        for piece in stream_text(counted(tokens), tokenizer):
            pieces.append(piece)
            if not json:
                _write(piece)
        seconds += time.perf_counter() - start
        n_tokens += len(ids)
        samples.append("".join(pieces))
        if not json:
            _write(f"\n{_SEPARATOR}\n" if num_samples > 1 else "\n")
    rate = n_tokens / seconds if seconds else 0.0
    if json:
        document = {"schema_version": 1, "prompt": text, "samples": samples, "tokens_per_second": rate}
        console.print_json(document)
        return
    console.note(f"{n_tokens} tokens in {seconds:.1f} s, {rate:.0f} tokens/s", quiet=quiet)
    console.next_step("nanogpt explain-log" if init_from == "resume" else "nanogpt train --help", quiet=quiet)


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


def _write(text: str) -> None:
    """To stdout at once; a terminal that cannot show a character gets a replacement, not a traceback."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()

"""A text written in turns: a person types a line, the model goes on, and both see all of it.

Lines come from stdin, what the model adds goes to stdout; at a terminal a sign on stderr says who is next.
"""

import sys
from typing import TYPE_CHECKING

from nanogpt_cli.cli import console
from nanogpt_cli.errors import NanoGPTError

if TYPE_CHECKING:
    from nanogpt_cli.engine.writing import Writer


def show(text: str) -> None:
    """To stdout at once; a terminal that cannot show a character gets a replacement, not a traceback."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def write_in_turns(writer: "Writer", text: str, *, given: bool, seed: int, quiet: bool) -> None:
    """Until stdin ends. Each typed line is added as it is, without its line end; an empty one adds nothing.

    `text` begins it where it was `given`, else only where the first line is empty. Turn k has seed + k.
    """
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        console.note(
            "Type how it begins; the model goes on. Enter alone: further. Ctrl-C: enough. Ctrl-D: end.",
            quiet=quiet,
        )
    so_far = text if given else ""
    turn = 0
    while (line := _next_line(prompted=at_terminal)) is not None:
        wanted = so_far + line or text
        try:
            prompt_ids = writer.tokenizer.encode(wanted)
        except NanoGPTError as error:  # a character the vocabulary lacks: another line can do without it
            console.print_error(str(error), error.hint)
            continue
        so_far = wanted
        try:
            for piece in writer.write(prompt_ids, [seed + turn]):
                show(piece.text)
                so_far += piece.text
        except KeyboardInterrupt:
            if not at_terminal:
                raise  # nobody is there who could go on
        show("\n")
        turn += 1


def _next_line(*, prompted: bool) -> str | None:
    """One line without its end; None where there are no more."""
    if prompted:
        sys.stderr.write("> ")
        sys.stderr.flush()
    try:
        return input()  # with the terminal's own editing of a line
    except EOFError:
        return None

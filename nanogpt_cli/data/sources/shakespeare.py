"""The built-in corpus of nanoGPT's first lesson: about 1 MB of Shakespeare's plays, downloaded once."""

from typing import Final

from nanogpt_cli.data.sources.download import Download, fetch
from nanogpt_cli.data.sources.text_file import TextFile
from nanogpt_cli.events import Reporter
from nanogpt_cli.files import cache_dir

SHAKESPEARE: Final = "shakespeare"
# The file that nanoGPT's data/shakespeare and data/shakespeare_char use.
TINY_SHAKESPEARE: Final = Download(
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    bytes=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


class Shakespeare(TextFile):
    """The downloaded text, under the name the user called it by."""

    kind = "builtin"


def open_shakespeare(reporter: Reporter) -> Shakespeare:
    """The corpus, from the user's cache folder or else from the web; in neither: NanoGPTError."""
    path = fetch(
        TINY_SHAKESPEARE,
        cache_dir() / "tinyshakespeare.txt",
        reporter,
        by_hand=f"download {TINY_SHAKESPEARE.url} elsewhere as input.txt, copy it here, and: "
        f"nanogpt prepare input.txt --name {SHAKESPEARE}",
    )
    source = Shakespeare(path)
    source.label = source.dataset_name = SHAKESPEARE
    return source

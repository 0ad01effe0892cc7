"""prepare: nanoGPT's own tokens and files, constant memory, and never half a dataset."""

import contextlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from nanogpt_cli import files
from nanogpt_cli.data import install, sources
from nanogpt_cli.data.dataset import INTERRUPTED_MARKER, open_dataset
from nanogpt_cli.data.prepare import PreparedDataset, prepare
from nanogpt_cli.data.sources import TextFile
from nanogpt_cli.data.tokenizers import TiktokenTokenizer
from nanogpt_cli.errors import NanoGPTError, UsageError
from tests.data.conftest import Recorder

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\n" * 20


def write(text: str, name: str = "input.txt") -> str:
    Path(name).write_bytes(text.encode())
    return name


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, stamps aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".verified.json"
    }


def refusal(source: str, **options: object) -> NanoGPTError:
    """The error of prepare, which must have written nothing."""
    before = snapshot(Path())
    with pytest.raises(NanoGPTError) as caught:
        prepare(source, **options)  # type: ignore[arg-type]
    assert snapshot(Path()) == before
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


# ---- what is written


def nanogpt_char(text: str) -> tuple[dict[str, object], list[int], list[int]]:
    """What nanoGPT's character-level preparation defines: its meta.pkl, train ids, val ids."""
    vocabulary = sorted(set(text))
    stoi = {character: i for i, character in enumerate(vocabulary)}
    cut = int(len(text) * 0.9)
    meta = {"vocab_size": len(vocabulary), "itos": dict(enumerate(vocabulary)), "stoi": stoi}
    return meta, [stoi[c] for c in text[:cut]], [stoi[c] for c in text[cut:]]


def test_char_folder_is_nanogpts(language_text: str) -> None:
    folder = prepare(write(language_text)).path
    meta, train, val = nanogpt_char(language_text)
    assert pickle.loads((folder / "meta.pkl").read_bytes()) == meta
    assert np.fromfile(folder / "train.bin", dtype=np.uint16).tolist() == train
    assert np.fromfile(folder / "val.bin", dtype=np.uint16).tolist() == val


@pytest.mark.usefixtures("gpt2")
def test_gpt2_folder_is_nanogpts(language_text: str) -> None:
    """Split by characters before encoding, as nanoGPT does, not by tokens after it."""
    folder = prepare(write(language_text), tokenizer="gpt2").path
    encoding, cut = tiktoken.get_encoding("gpt2"), int(len(language_text) * 0.9)
    train = np.fromfile(folder / "train.bin", dtype=np.uint16).tolist()
    assert train == encoding.encode_ordinary(language_text[:cut])
    assert np.fromfile(folder / "val.bin", dtype=np.uint16).tolist() == encoding.encode_ordinary(
        language_text[cut:]
    )
    assert not (folder / "meta.pkl").exists()  # nanoGPT then assumes GPT-2


def test_byte_folder_trains_and_samples_in_nanogpt() -> None:
    folder = prepare(write("naïve " * 100), tokenizer="byte").path
    meta = pickle.loads((folder / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 256
    assert [meta["stoi"][character] for character in "ROMEO:\n"] == list(b"ROMEO:\n")
    assert "".join(meta["itos"][i] for i in b"ROMEO:\n") == "ROMEO:\n"
    (folder / "meta.json").unlink()  # what is left is nanoGPT's folder, and still known to be bytes
    assert open_dataset("input").tokenizer_name == "byte"


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("tokenizer", ["char", "byte", "gpt2"])
@pytest.mark.parametrize("piece_bytes", [4, 7, 64, 1 << 20])
def test_the_text_comes_back(
    language_text: str, tokenizer: str, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = language_text.replace("\n", "\r\n")
    monkeypatch.setattr(sources, "PIECE_BYTES", piece_bytes)
    prepared = prepare(write(text), tokenizer=tokenizer, val_fraction=0.25)
    dataset = open_dataset("input")
    assert dataset.tokenizer is not None
    parts = {name: dataset.tokenizer.decode(dataset.tokens(name)) for name in ("train", "val")}
    cut = int(len(text) * 0.75)
    assert parts == {"train": text[:cut], "val": text[cut:]}
    for name, part in parts.items():
        assert prepared.splits[name].bytes == dataset.splits[name].bytes == len(part.encode())
        assert dataset.tokenizer.token_bytes()[dataset.tokens(name)].sum() == len(part.encode())


def test_meta_json() -> None:
    prepare(write("ab" * 500, "my text.txt"), val_fraction=0.2)
    meta = json.loads(Path("data/my-text/meta.json").read_text())
    assert (meta["format"], meta["format_version"]) == ("nanogpt-dataset", 1)
    assert meta["tokenizer"]["file"] == "nanogpt_tokenizer.json"
    assert (meta["vocab_size"], meta["dtype"], meta["val_fraction"]) == (2, "uint16", 0.2)
    assert meta["splits"]["train"] == {
        "file": "train.bin",
        "tokens": 800,
        "bytes": 800,
        "documents": 1,
        "sha256": files.sha256_file(Path("data/my-text/train.bin")),
    }
    assert meta["source"] == {
        "kind": "file",
        "label": "my text.txt",
        "sha256": files.sha256_file(Path("my text.txt")),
        "bytes": 1000,
        "characters": 1000,
        "documents": 1,
    }


def test_the_same_text_gives_the_same_bytes() -> None:
    source = write(TEXT)
    first = snapshot(prepare(source, name="a").path)
    assert snapshot(prepare(source, name="b").path) == first


def test_large_vocabulary_is_uint32() -> None:
    """A char vocabulary beyond 65,536 ids does not fit nanoGPT's uint16."""
    characters = "".join(chr(i) for i in range(1, 67_000) if not 0xD800 <= i <= 0xDFFF)
    for count, dtype in ((1 << 16, "uint16"), ((1 << 16) + 1, "uint32")):
        if len(characters) < count:
            characters += "".join(chr(i) for i in range(67_000, 80_000))
        prepared = prepare(write(characters[:count]), name=dtype)
        assert (prepared.vocab_size, prepared.dtype) == (count, dtype)
        dataset = open_dataset(dtype)
        assert dataset.tokens("val")[-1] == count - 1


# ---- collections


@pytest.mark.usefixtures("gpt2")
def test_documents_of_a_collection_end_with_end_of_text() -> None:
    prepared = prepare("python-docs", tokenizer="gpt2")
    dataset = open_dataset("python-docs")
    assert dataset.tokenizer is not None
    topics = [text for document in sources.PythonDocs().documents() for text in document]
    train, val = (dataset.tokens(name).tolist() for name in ("train", "val"))
    texts = (dataset.tokenizer.decode(train) + dataset.tokenizer.decode(val)).split("<|endoftext|>")
    assert texts == [*topics, ""]
    # The document cut by the split is in both, and ends in val only.
    assert prepared.splits["train"].documents + prepared.splits["val"].documents == len(topics) + 1
    assert train.count(50256) == prepared.splits["train"].documents - 1
    assert val.count(50256) == prepared.splits["val"].documents


def test_char_and_byte_have_no_end_of_text() -> None:
    topics = [text for document in sources.PythonDocs().documents() for text in document]
    prepare("python-docs")
    dataset = open_dataset("python-docs")
    assert dataset.tokenizer is not None
    decoded = "".join(dataset.tokenizer.decode(dataset.tokens(name)) for name in ("train", "val"))
    assert decoded == "".join(topics)


# ---- what is refused, with nothing written


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "there is no file input.txt"),
        (b"", "input.txt is empty"),
        (b"\xef\xbb\xbf", "input.txt holds no text, too little to split into train and val"),
        (b"x", "input.txt holds 1 character, too little to split into train and val"),
        (b"a\0b", "input.txt is not text: byte 1 is NUL, as in binary files"),
        (b"caf\xe9", "input.txt is not UTF-8: byte 3 (0xE9) cannot be decoded"),
    ],
)
def test_bad_texts(raw: bytes | None, message: str) -> None:
    if raw is not None:
        Path("input.txt").write_bytes(raw)
    assert refusal("input.txt").message == message
    assert not Path("data").exists()


@pytest.mark.parametrize(("fraction", "which"), [(0.001, "validation"), (0.999, "training")])
def test_a_split_that_would_be_empty(fraction: float, which: str) -> None:
    error = refusal(write("tiny text" * 2), val_fraction=1 - 1e-12 if fraction > 0.5 else 1e-17)
    assert f"no {which} text is left" in error.message
    assert "--val-fraction 0.5" in error.hint


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_val_fraction_out_of_range(fraction: float) -> None:
    error = refusal(write(TEXT), val_fraction=fraction)
    assert isinstance(error, UsageError)
    assert "--val-fraction must lie between 0 and 1" in error.message


def test_unknown_tokenizer_and_bad_name() -> None:
    assert "there is no tokenizer 'chars'" in refusal(write(TEXT), tokenizer="chars").message
    assert "cannot name a dataset" in refusal(write(TEXT), name="../escape").message


def test_a_file_in_the_way() -> None:
    Path("data").write_text("mine")
    assert refusal(write(TEXT)).message == "data is a file, and the dataset needs a folder there"


def test_text_that_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source, reads = write(TEXT), []
    real_pieces = TextFile._pieces

    def changing(self: TextFile) -> object:
        reads.append(1)
        yield from real_pieces(self)
        if len(reads) == 2:
            yield "T"

    monkeypatch.setattr(TextFile, "_pieces", changing)
    assert refusal(source).message == "input.txt changed while it was being read"


def test_short_val_is_a_warning(recorder: Recorder) -> None:
    prepare(write("abc" * 200), reporter=recorder)  # 60 tokens
    assert recorder.warnings == [
        "val has only 60 tokens; training with block_size 64 needs 65: "
        "use a longer text or a larger share (--val-fraction 0.2)"
    ]
    again = Recorder()
    prepare(write("abcde" * 130), name="enough", reporter=again)  # 65 tokens
    assert again.warnings == []


def test_progress_reaches_the_total(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PIECE_BYTES", 100)
    prepare(write(TEXT), reporter=recorder)
    for task in ("reading", "encoding"):
        done = [event.done for event in recorder.progress if event.task == task]
        assert len(done) > 10
        assert done == sorted(done)
        assert done[-1] == len(TEXT)


# ---- a dataset that is there already


def test_preparing_twice_is_unchanged() -> None:
    source = write(TEXT)
    first = prepare(source)
    before = snapshot(first.path)
    second = prepare(source)
    assert (first.unchanged, second.unchanged) == (False, True)
    assert snapshot(first.path) == before
    assert first.splits == second.splits
    assert first.bytes_per_token == second.bytes_per_token


@pytest.mark.parametrize(
    "options", [{"tokenizer": "byte"}, {"val_fraction": 0.2}, {"text": TEXT + "."}], ids=str
)
def test_another_dataset_needs_overwrite(options: dict[str, object]) -> None:
    folder = prepare(write(TEXT)).path
    write(str(options.pop("text", TEXT)))
    error = refusal("input.txt", **options)
    assert error.message == "data/input already holds another dataset (input.txt, tokenizer char)"
    assert "--overwrite" in error.hint
    before = snapshot(folder)
    prepare("input.txt", overwrite=True, **options)  # type: ignore[arg-type]
    assert snapshot(folder)["meta.json"] != before["meta.json"]
    open_dataset("input")


def test_the_hint_of_a_refusal_works_when_typed() -> None:
    prepare(write(TEXT, "my text.txt"))
    prepare("my text.txt", data_root=Path("other"))
    assert (
        "--name my-text --data-dir other --overwrite"
        in refusal("my text.txt", tokenizer="byte", data_root=Path("other")).hint
    )
    hint = refusal("my text.txt", val_fraction=0.25).hint
    assert (
        "nanogpt prepare 'my text.txt' --tokenizer char --name my-text --val-fraction 0.25 --overwrite"
        in hint
    )


def test_damaged_dataset_is_not_called_unchanged() -> None:
    folder = prepare(write(TEXT)).path
    (folder / "val.bin").write_bytes(b"\0\0" * 172)
    assert "val.bin" in refusal("input.txt").message
    prepare("input.txt", overwrite=True)
    open_dataset("input")


def test_nanogpt_dataset_is_not_replaced_unasked() -> None:
    Path("data/input").mkdir(parents=True)
    Path("data/input/train.bin").write_bytes(b"\0\0")
    assert refusal(write(TEXT)).message == "data/input already holds a dataset"


def test_a_folder_on_another_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """data/big may be a link to a scratch disk: files can be renamed only within it."""
    Path("scratch").mkdir()
    Path("data").mkdir()
    Path("data/big").symlink_to(Path("scratch").resolve(), target_is_directory=True)
    real_replace = Path.replace

    def replace(self: Path, target: Path) -> Path:
        scratch = [Path("scratch").resolve() in path.resolve().parents for path in (self, target)]
        if scratch[0] != scratch[1]:
            raise OSError(18, "Invalid cross-device link")
        return real_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    prepare(write(TEXT), name="big")
    prepare(write(TEXT), name="big", tokenizer="byte", overwrite=True)
    assert Path("data/big").is_symlink()
    assert open_dataset("big").tokenizer_name == "byte"
    assert sorted(path.name for path in Path("scratch").iterdir()) == sorted([*install.DATASET_FILES])


@pytest.mark.usefixtures("gpt2")
def test_users_files_stay() -> None:
    folder = Path("data/mine")
    folder.mkdir(parents=True)
    source = write(TEXT, "data/mine/input.txt")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("keep")
    prepare(source, name="mine")  # no dataset in there yet: nothing to overwrite
    assert (folder / "meta.pkl").exists()
    prepare(source, name="mine", tokenizer="gpt2", overwrite=True)
    assert (folder / "input.txt").read_text() == TEXT
    assert (folder / "notes" / "a.txt").read_text() == "keep"
    assert not (folder / "meta.pkl").exists()  # the old one would have told nanoGPT of characters
    assert sorted(path.name for path in Path("data").iterdir()) == ["mine"]


# ---- crashes


class Crash(BaseException):
    """Like a kill: nothing may catch it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], int]:
    """Raise Crash before the nth call that changes the disk; gives the number of calls so far."""
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise Crash
            return real(*args, **options)

        return wrapper

    for owner, name in (
        (Path, "replace"),
        (Path, "unlink"),
        (files, "write_atomic"),
        (files, "fsync_file"),
        (files, "fsync_directory"),
        (Path, "rename"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: calls


def what_is_there(old_fingerprint: str) -> str:
    """`old` or `new` where data/input opens, `refused` where it says that it was interrupted."""
    try:
        found = open_dataset("input")
    except NanoGPTError as error:
        if "was interrupted" in error.message:
            return "refused"
        raise
    return "old" if found.fingerprint == old_fingerprint else "new"


def test_a_crash_at_any_step_of_an_overwrite_leaves_old_new_or_refused() -> None:
    source = write(TEXT)
    outcomes = []
    for nth in range(1, 100):
        prepare(source, tokenizer="char", overwrite=True)
        old = open_dataset("input").fingerprint
        with pytest.MonkeyPatch.context() as patch:
            calls = crash_at(patch, nth)
            try:
                prepare(source, tokenizer="byte", overwrite=True)
            except Crash:
                finished = False
            else:
                finished = calls() < nth
        outcome = what_is_there(old)
        if outcome == "refused":
            # Run again, as the error says: no --overwrite is needed to finish what was begun.
            assert not prepare(source, tokenizer="byte").unchanged
            assert what_is_there(old) == "new"
        outcomes.append(outcome)
        assert not Path("data/input", INTERRUPTED_MARKER).exists()
        if finished:
            break
    assert finished
    assert set(outcomes) == {"old", "refused", "new"}
    assert outcomes == sorted(outcomes, key=["old", "refused", "new"].index)


def test_a_crash_at_any_step_of_a_first_preparation_leaves_nothing() -> None:
    source = write(TEXT)
    for nth in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            calls = crash_at(patch, nth)
            with contextlib.suppress(Crash):
                prepare(source, name=f"n{nth}")
        folder = Path("data") / f"n{nth}"
        if folder.exists():
            open_dataset(folder.name)
        assert not list(Path("data").glob(".tmp-*"))
        if calls() < nth:
            return
    raise AssertionError("never finished")


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk(existing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(TEXT)
    if existing:
        prepare(source)

    class FullDisk:
        def write(self, raw: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    real_open = Path.open

    def open_full(path: Path, mode: str = "r", **options: object) -> object:
        return FullDisk() if mode == "xb" else real_open(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", open_full)
    error = refusal(source, tokenizer="byte", overwrite=True)
    assert error.message == "data/input cannot be written: no space left on device"
    assert "df -h data" in error.hint
    assert not list(Path("data").glob(".tmp-*"))


def test_permission_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(install.files, "new_directory", refuse)
    assert refusal(write(TEXT)).message == "data/input cannot be written: permission denied"


# ---- advice and JSON


@pytest.mark.usefixtures("gpt2")
def test_advice() -> None:
    texts = Path(__file__).parent.parent / "fixtures" / "texts"
    chinese = prepare(str(texts / "chinese.txt"), tokenizer="gpt2")
    assert chinese.advice is not None
    assert "tokens for one character" in chinese.advice
    for name in ("english", "spanish", "french"):
        assert prepare(str(texts / f"{name}.txt"), tokenizer="gpt2").advice is None
    assert prepare(str(texts / "chinese.txt"), name="char").advice is None
    distinct = "".join(chr(0x4E00 + i) for i in range(5001))
    rare = prepare(write(distinct * 2), name="rare").advice
    assert rare is not None
    assert rare.startswith("5,001 distinct characters")
    assert prepare(write(distinct[:5000] * 2), name="fewer").advice is None
    assert prepare(write(distinct * 2), name="rare-bytes", tokenizer="byte").advice is None


def test_to_json() -> None:
    prepared: PreparedDataset = prepare(write("é" * 1000))
    assert prepared.to_json() == {
        "schema_version": 1,
        "dataset": "input",
        "path": str(Path("data/input")),
        "tokenizer": "char",
        "vocab_size": 1,
        "dtype": "uint16",
        "splits": {
            "train": {"tokens": 900, "bytes": 1800, "documents": 1},
            "val": {"tokens": 100, "bytes": 200, "documents": 1},
        },
        "bytes_per_token": 2.0,
        "unchanged": False,
    }


def test_gpt2_compresses(gpt2: TiktokenTokenizer) -> None:
    assert prepare(write(TEXT), tokenizer="gpt2").bytes_per_token > 3

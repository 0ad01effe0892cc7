"""Local folders of the `datasets` library: saved by it, or laid out as on the hub."""

import json
from pathlib import Path

import datasets
import pytest

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.saved_dataset import is_saved_dataset, open_saved_dataset
from nanogpt_cli.errors import NanoGPTError
from tests.data.conftest import Recorder
from tests.data.hub.repositories import card, csv_file, jsonl, parquet, texts

TRAIN, VAL = texts("train"), texts("val", 7)


@pytest.fixture(autouse=True)
def offline_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library reads HF_HOME when it is imported; nothing of a local folder should be copied there."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


def write(files: dict[str, bytes], folder: str = "corpus") -> Path:
    for name, raw in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return Path(folder)


def read(source: Source) -> list[str]:
    return ["".join(document) for document in source.documents()]


def opened(path: Path, recorder: Recorder | None = None, **options: object) -> Source:
    return open_saved_dataset(path, SourceOptions(**options), recorder or Recorder())  # type: ignore[arg-type]


def failure(path: Path, **options: object) -> NanoGPTError:
    with pytest.raises(NanoGPTError) as caught:
        read(opened(path, **options))
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


# ---- save_to_disk


def test_a_saved_dataset(recorder: Recorder) -> None:
    rows = datasets.Dataset.from_dict({"id": range(len(TRAIN)), "text": TRAIN})
    rows.save_to_disk("saved", num_shards=3)
    assert is_saved_dataset(Path("saved"))
    source = opened(Path("saved"), recorder)
    assert read(source) == read(source) == TRAIN
    assert (source.label, source.dataset_name, source.kind) == ("saved", "saved", "dataset")
    assert source.repeatable
    assert source.collection
    assert source.size_bytes == source.done_bytes > sum(map(len, TRAIN))


def test_rows_that_were_chosen_and_ordered_before_saving() -> None:
    rows = datasets.Dataset.from_dict({"text": TRAIN}).select([5, 3, 4]).rename_column("text", "body")
    rows.save_to_disk("saved")
    assert read(opened(Path("saved"))) == [TRAIN[5], TRAIN[3], TRAIN[4]]


def test_a_saved_dataset_of_several_splits(recorder: Recorder) -> None:
    splits = {
        name: datasets.Dataset.from_dict({"text": rows}) for name, rows in (("train", TRAIN), ("val", VAL))
    }
    datasets.DatasetDict(splits).save_to_disk("saved")
    assert is_saved_dataset(Path("saved"))
    assert read(opened(Path("saved"), recorder)) == TRAIN
    assert "split train; also there: val (--split chooses)" in str(recorder.events)
    assert read(opened(Path("saved"), split="val")) == VAL
    error = failure(Path("saved"), split="test")
    assert error.message == "saved has no split 'test'; it has train, val"
    assert "is no single split" in failure(Path("saved"), split="train+val").message


def test_what_was_saved_and_damaged() -> None:
    datasets.Dataset.from_dict({"text": TRAIN}).save_to_disk("saved")
    next(Path("saved").glob("*.arrow")).write_bytes(b"")
    assert failure(Path("saved")).message.startswith("saved could not be loaded")
    state = json.loads(Path("saved/state.json").read_text())
    Path("saved", state["_data_files"][0]["filename"]).unlink()
    assert "saved could not be loaded" in failure(Path("saved")).message


# ---- Folders laid out as on the hub


@pytest.mark.parametrize(
    "files",
    [
        {"train.jsonl": jsonl("text", TRAIN), "validation.jsonl": jsonl("text", VAL)},
        {"train.csv": csv_file("text", TRAIN), "test.csv": csv_file("text", VAL)},
        {
            "data/train-00000-of-00002.parquet": parquet({"text": TRAIN[:20], "n": range(20)}),
            "data/train-00001-of-00002.parquet": parquet({"text": TRAIN[20:], "n": range(10)}),
            "data/validation-00000-of-00001.parquet": parquet({"text": VAL, "n": range(7)}),
        },
        {"train/a.jsonl": jsonl("text", TRAIN[:9]), "train/b.jsonl": jsonl("text", TRAIN[9:])},
        {
            "README.md": card(
                "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: a.jsonl"
            ),
            "a.jsonl": jsonl("text", TRAIN),
            "b.jsonl": jsonl("text", VAL),
        },
    ],
    ids=["jsonl", "csv", "parquet", "folders", "card"],
)
def test_a_folder_laid_out_as_on_the_hub(files: dict[str, bytes]) -> None:
    folder = write(files)
    assert is_saved_dataset(folder)
    source = opened(folder)
    assert read(source) == read(source) == TRAIN
    assert source.dataset_name == "corpus"
    assert not list(Path().rglob("*.arrow")), "local files were copied into a cache"


def test_configurations_of_a_folder() -> None:
    front_matter = (
        "configs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: fr\n  data_files: fr.jsonl"
    )
    lines = {"en.jsonl": jsonl("text", ["hello"]), "fr.jsonl": jsonl("text", ["bonjour"])}
    folder = write({"README.md": card(front_matter), **lines})
    assert read(opened(folder, config="fr")) == ["bonjour"]
    error = failure(folder)
    assert error.message == "corpus has several configurations: en, fr"
    assert error.hint == "nanogpt prepare corpus --config en"


def test_columns_of_a_folder() -> None:
    folder = write({"train.jsonl": b'{"a": "x", "b": 1}\n'})
    assert failure(folder, text_column="b").message == "column 'b' of corpus holds int64, not text"
    assert "has no column 'c'" in failure(folder, text_column="c").message


def test_a_damaged_file_of_a_folder() -> None:
    folder = write({"train.parquet": b"PAR1 and then something else"})
    error = failure(folder)
    assert error.message.startswith("corpus could not be loaded (")
    assert "https" not in error.hint, "a local folder has no page on the hub"


def test_a_revision_is_for_the_hub() -> None:
    folder = write({"train.jsonl": jsonl("text", TRAIN)})
    assert "--revision is for datasets of the Hugging Face hub" in failure(folder, revision="v1").message


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": b"text", "train.txt": b"text"},
        {"README.md": b"# My notes\n", "a.jsonl": jsonl("text", ["a"])},
        {"a.jsonl": jsonl("text", ["a"]), "b.jsonl": jsonl("text", ["b"])},
        {"train.jsonl": jsonl("text", ["a"]), "notes.jsonl": jsonl("text", ["b"])},
        {"constraint.csv": csv_file("text", ["a"])},
        {".cache/train.jsonl": jsonl("text", ["a"])},
        {},
    ],
)
def test_other_folders_are_not_taken_for_datasets(files: dict[str, bytes]) -> None:
    """`train.jsonl` beside `notes.jsonl`: the library would read the first alone, and lose the second."""
    Path("corpus").mkdir()
    assert not is_saved_dataset(write(files))
    assert not is_saved_dataset(Path("missing"))

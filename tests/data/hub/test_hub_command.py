"""`nanogpt prepare owner/name` as a user types it: what is written, what is printed, which settings count."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.hub.repositories import parquet, texts
from tests.helpers import run_cli, subprocess_cli
from tests.hub_server import TOKEN, Hub, Repository, serve

TRAIN = texts("train", 200)
PLAIN = {
    "train.parquet": parquet({"id": range(200), "text": TRAIN}),
    "test.parquet": parquet({"text": ["t"]}),
}


def prepared_text(name: str) -> bytes:
    """The text of a dataset of bytes, both splits together."""
    return b"".join(
        np.fromfile(Path("data", name, f"{split}.bin"), np.uint16).astype(np.uint8).tobytes()
        for split in ("train", "val")
    )


def test_the_settings_of_the_environment(clean_environment: dict[str, str], tmp_path: Path) -> None:
    """A private dataset: with the token of HF_TOKEN, into the caches of HF_HOME; then offline from there."""
    environment = {
        **clean_environment,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "HF_DATASETS_CACHE": str(tmp_path / "tables"),
    }
    prepare = ("prepare", "owner/plain", "--tokenizer", "byte")
    with serve({"owner/plain": Repository(PLAIN, private=True)}) as server:
        environment["HF_ENDPOINT"] = server.url
        online = subprocess_cli(*prepare, "--json", env=environment)
        assert online.err == ""
        document = online.json()
        assert document["splits"]["train"]["documents"] + document["splits"]["val"]["documents"] == 200
        assert list((tmp_path / "home" / "hub").rglob("*.parquet"))
        assert list((tmp_path / "tables").rglob("*.arrow"))
        server.asked.clear()
        offline = subprocess_cli(*prepare, "--name", "off", env={**environment, "HF_HUB_OFFLINE": "1"})
        assert offline.code == 0, offline.err
        assert not server.asked
    assert prepared_text("off") == prepared_text("plain")
    assert sorted(prepared_text("plain")) == sorted("".join(TRAIN).encode())
    assert "split train; also there: test" in offline.err
    assert "%|" not in offline.err, "a progress bar of the library"


def test_streaming_gives_the_same_dataset(start_hub: Callable[..., Hub]) -> None:
    start_hub(plain=Repository(PLAIN))
    assert run_cli("prepare", "owner/plain", "-t", "byte", "--quiet") == (0, "", "")
    streamed = run_cli("prepare", "owner/plain", "-t", "byte", "--quiet", "--streaming", "--name", "streamed")
    assert streamed == (0, "", "")
    assert prepared_text("streamed") == prepared_text("plain")
    few = run_cli("prepare", "owner/plain", "-t", "byte", "--streaming", "--max-docs", "100", "--name", "few")
    assert few.code == 0, few.err
    assert sorted(prepared_text("few")) == sorted("".join(TRAIN[:100]).encode())


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_a_connection_that_is_lost_for_good_leaves_no_dataset(
    start_hub: Callable[..., Hub], streaming: bool
) -> None:
    """It breaks in the middle of the data, when the beginning was read and the columns are known."""
    rows = [random.Random(row).randbytes(150_000).hex() for row in range(60)]
    raw = parquet({"text": rows}, row_group_size=4)
    server = start_hub(plain=Repository({"train.parquet": raw}))
    server.most["train.parquet"] = len(raw) * 2 // 3
    result = run_cli("prepare", "owner/plain", "-t", "byte", *["--streaming"] * streaming)
    assert result.code == 1
    assert result.out == ""
    error, hint = result.err.splitlines()[-2:]
    assert error.startswith("error: owner/plain could not be read from http://127.0.0.1")
    assert hint.startswith("hint: check the network")
    assert server.sent["train.parquet"] == len(raw) * 2 // 3
    assert not Path("data").exists() or not list(Path("data").iterdir())

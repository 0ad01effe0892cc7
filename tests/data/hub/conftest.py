"""`datasets` and `huggingface_hub`, which read their environment when they are imported, told afterwards."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from tests.hub_server import Hub, Repository, serve


@pytest.fixture
def start_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Start a hub with these repositories; the libraries of this process use it, and caches of their own."""
    with ExitStack() as servers:

        def start(repositories: Mapping[str, Repository] | None = None, **by_name: Repository) -> Hub:
            named = {f"owner/{name}": repository for name, repository in by_name.items()}
            server = servers.enter_context(serve({**named, **(repositories or {})}))
            use_endpoint(server.url, monkeypatch)
            return server

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
        monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # they are kept on Amazon S3
        # It would be looked for on datasets-server.127.0.0.1.
        monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)
        monkeypatch.setattr(datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        set_offline(monkeypatch, offline=False)
        yield start


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when the libraries are imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(
        datasets.config, "HUB_DATASETS_URL", url + "/datasets/{repo_id}/resolve/{revision}/{path}"
    )


def set_offline(monkeypatch: pytest.MonkeyPatch, *, offline: bool) -> None:
    """What HF_HUB_OFFLINE does when the libraries are imported."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait; how long they would have waited, in seconds."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """For a process of its own: nothing of the caller's settings for the hub."""
    return {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "HF_HOME": os.environ["HF_HOME"],
    }

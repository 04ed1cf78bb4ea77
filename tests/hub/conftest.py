import itertools

import pytest
from hub_places import MODELS, SHAPE, Place, ties
from hub_server import TOKEN, Hub
from typer.testing import CliRunner

from graphmerge import hub as graphmerge_hub
from graphmerge.cli.app import app
from graphmerge.hub.client import open_repository
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.units import MIB

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder `local` with the models."""
    folder = tmp_path_factory.mktemp("models") / "local"
    write_base(folder / "base", SHAPE, seed=0, max_shard_bytes=2 * MIB)
    for seed, name in enumerate(MODELS[1:], start=1):
        write_fine_tune(folder / name, folder / "base", seed=seed, scale=0.002)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server that all of a module's tests use, from this process and from others."""
    with Hub() as hub, pytest.MonkeyPatch.context() as patch:
        for name, value in hub.environment(tmp_path_factory.mktemp("hf")).items():
            patch.setenv(name, value)
        patch.delenv("HF_TOKEN", raising=False)
        yield hub
        graphmerge_hub.download([])  # ends the process that speaks to this server


@pytest.fixture
def place(server, tmp_path, monkeypatch):
    """An empty working directory, and a server that has counted nothing yet."""
    monkeypatch.chdir(tmp_path)
    server.requests.clear()
    server.sent_bytes.clear()
    server.cuts.clear()
    server.limited, server.retry_after, server.unavailable = 0, 1, 0
    server.ignores_ranges = False
    server.stalled_file = None
    server.is_stalled.clear()
    server.may_go_on.clear()
    open_repository.cache_clear()
    return Place(tmp_path, server, f"org{next(_NUMBERS)}")


@pytest.fixture
def three(place, models):
    """The same with the three models on the Hub, and a recipe of them."""
    place.commits = {name: place.add(name, models / name) for name in MODELS}
    place.write("ties.yml", ties(place.organisation))
    return place


@pytest.fixture
def invoke():
    """Run a command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def with_token(place, monkeypatch):
    """Gives this process and those that it starts a token for the server."""
    graphmerge_hub.download([])  # ends the process that speaks to the server without
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield
    graphmerge_hub.download([])

"""One server for the tests that leave it alone; the others start their own."""

import itertools
import os
import shutil

import pytest

import harness


@pytest.fixture(scope="session")
def server():
    server = harness.Server()
    yield server
    server.close()


@pytest.fixture
def stub(server):
    return server.stub


@pytest.fixture(scope="session")
def workspace_of(server):
    """Makes a workspace of its own for a test: `workspace_of("email,phone")`."""
    return server.create_workspace


@pytest.fixture
def workspace(server):
    return server.create_workspace()


_domains = itertools.count(1)


@pytest.fixture
def domain():
    """A mail domain that no other test uses."""
    return f"d{next(_domains)}.example"


@pytest.fixture
def own_servers():
    """Starts servers that the test stops, kills or measures: `own_servers(data_dir=...)`."""
    started = []

    def start(**settings):
        server = harness.Server(**settings)
        started.append(server)
        return server

    yield start
    for server in started:
        server.channel.close()
        if server.process.poll() is None:
            server.stop()
        if server.owns_directory:
            shutil.rmtree(server.data_dir, ignore_errors=True)


@pytest.fixture
def data_dir():
    directory = harness.new_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def still_serving(request):
    """After each test that used the shared server, the server answers the next call."""
    yield
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    if isinstance(server, harness.Server):
        assert server.process.poll() is None, "".join(server.log[-20:])
        harness.get(server.stub, {"email": "nobody@nowhere.example"})


def pytest_report_header():
    return f"contactsd: {harness.CONTACTSD}, FOREIGN_COUNT={os.environ.get('FOREIGN_COUNT', '')}"

"""Random imports against a model of the contract.

    MODEL_SEED=17 python -m pytest -q Tests/Foreign/test_model.py       one run again
    MODEL_SECONDS=1800 python -m pytest -qs Tests/Foreign/test_model.py  new runs for half an hour

A seed fixes what is sent and how many lanes the server has; how streams of one round meet is left to
chance, so a failure in a round with shared keys may take a few repeats.
"""

import os
import time

import pytest

from harness import Server
from model_world import World

SEED = os.environ.get("MODEL_SEED")
SECONDS = int(os.environ.get("MODEL_SECONDS", "0"))
LANES = [1, 2, 4, 7]
ROUNDS = 6
CI_SEEDS = range(30)
CI_CONTACTS = 10_000


@pytest.fixture(scope="module")
def servers():
    """A server for each number of lanes."""
    started = {}

    def server_of(seed):
        lanes = LANES[seed % len(LANES)]
        if lanes not in started:
            started[lanes] = Server(lanes=lanes)
        return started[lanes]

    yield server_of
    for server in started.values():
        server.close()


def run(servers, seed):
    """One workspace through its rounds; returns how many contacts were sent."""
    world = None
    try:
        world = World(servers(seed), seed)
        for _ in range(ROUNDS):
            world.play_round()
    except BaseException as error:
        at = f" in round {world.round_number} of {world.workspace}" if world else ""
        raise AssertionError(
            f"seed {seed} failed{at}; repeat it with MODEL_SEED={seed}: {error}") from error
    return world.contacts


@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(SEED or SECONDS), reason="other seeds are asked for")
def test_random_imports_do_what_the_model_does(servers):
    contacts = sum(run(servers, seed) for seed in CI_SEEDS)
    assert contacts >= CI_CONTACTS


@pytest.mark.skipif(not SEED, reason="MODEL_SEED names a run")
def test_one_seed_again(servers):
    print(f"seed {SEED}: {run(servers, int(SEED))} contacts")


@pytest.mark.skipif(not SECONDS, reason="MODEL_SECONDS asks for it")
@pytest.mark.timeout(SECONDS + 600)
def test_new_seeds_for_as_long_as_asked(servers):
    """The first seed is the time; the following ones are counted on."""
    first = seed = time.time_ns() // 1_000_000
    contacts, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        contacts += run(servers, seed)
        seed += 1
    print(f"\nseeds {first} to {seed - 1}: {seed - first} runs, {contacts} contacts, no difference")

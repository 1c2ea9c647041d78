"""Imports through random faults: whatever breaks, each contact is applied once and answered truly.

    RIG_SEED=7 repeats one run, RIG_RUNS=200 makes more of them, RIG_CONTACTS=20000 longer ones.
"""

import concurrent.futures
import os
import time

import pytest

from harness import CREATED, FAILED, UPDATED, bulk, request
from rig import Site
from rig_journal import REPLAYED
from rig_run import Run
from rpcs import get_import, watch
from stubs import pb

RUNS = int(os.environ.get("RIG_RUNS", "10"))
CONTACTS = int(os.environ.get("RIG_CONTACTS", "10000"))
SEEDS = [int(os.environ["RIG_SEED"])] if "RIG_SEED" in os.environ else range(1, RUNS + 1)


@pytest.fixture(scope="module")
def site():
    site = Site()
    try:
        site.before = warm_level(site)
        yield site
    finally:
        site.close()


def warm_level(site):
    """What is open once every part of the server was used."""
    server = site.servers[0]
    workspace = server.create_workspace()

    def use(number):
        sent = [pb.Contact(email=f"{number}-{n}@warm.example") for n in range(1000)]
        outcome = bulk(server.stub, [request(sent, import_id=f"{number}", run_workflow=True)],
                       workspace)
        assert set(outcome.check_ok(1000).statuses) == {CREATED}
        assert get_import(server.stub, workspace, f"{number}").summary.created == 1000
        call, events = watch(server.stub, workspace)
        next(events)
        call.cancel()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(16)))
    server.channel.close()
    settled = {}
    while (level := site.level()) != settled:
        settled = level
        time.sleep(1)
    return settled


@pytest.mark.parametrize("seed", SEEDS)
def test_an_import_through_faults_is_applied_once_and_answered_truly(site, seed):
    run = Run(site, seed, CONTACTS)
    try:
        run.play()
        while len(site.servers) > 1:
            site.end_server(site.servers[0])
        run.check()
        site.check_alive()
        site.wait_for_level(site.before)
    except BaseException:
        site.repair()
        raise


TAMPERED = [
    ("UPDATE contacts SET name = 'x' || name WHERE id = %s",
     "UPDATE contacts SET name = substr(name, 2) WHERE id = %s"),
    ("UPDATE contacts SET fields = fields || '{\"f9\": 1}' WHERE id = %s",
     "UPDATE contacts SET fields = fields - 'f9' WHERE id = %s"),
    ("UPDATE contacts SET phone = '+16175559999' WHERE id = %s",
     "UPDATE contacts SET phone = NULL WHERE id = %s"),
    ("UPDATE events SET type = 3 - type WHERE contact_id = %s",
     "UPDATE events SET type = 3 - type WHERE contact_id = %s"),
    ("UPDATE events SET name = 'x' || name WHERE contact_id = %s",
     "UPDATE events SET name = substr(name, 2) WHERE contact_id = %s"),
    ("UPDATE contacts SET email = 'x' || email WHERE id = %s",
     "UPDATE contacts SET email = substr(email, 2) WHERE id = %s"),
]


def test_the_checks_notice_what_is_wrong(site):
    run = Run(site, 0, 2000, faults=[])
    run.play()
    run.check()
    told = next(told for told in run.journal.calls[0].results if told.status == CREATED)
    with site.connect() as connection:
        for wrong, right in TAMPERED:
            assert connection.execute(wrong, (told.id,)).rowcount >= 1
            with pytest.raises(AssertionError):
                run.check()
            connection.execute(right, (told.id,))
    for status in (UPDATED, FAILED, REPLAYED):
        told.status = status
        with pytest.raises(AssertionError):
            run.check()
    told.status = CREATED
    run.check()
    site.wait_for_level(site.before)

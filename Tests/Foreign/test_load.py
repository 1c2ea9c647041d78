"""`contacts load --verify`: what was acknowledged is read back.

CONTACTSD and CONTACTS name the binaries.
"""

import json
import os
import signal
import subprocess
import time

import harness
import pytest
from stubs import REPOSITORY

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")

SPOIL = """
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF hashtext(NEW.email) % 10 = 0 THEN NEW.first_name = 'nobody'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION spoil();
"""


def load(server, *flags, workspace="default"):
    return subprocess.Popen(
        [CONTACTS, "load", "--verify", "--json", "-", "--server", server.address, "--workspace",
         workspace, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(run):
    output, errors = run.communicate(timeout=300)
    report = json.loads(output) if output else {}
    return run.returncode, report, errors


@pytest.mark.parametrize("flags", [
    ("--contacts", "12345", "--chunk", "100", "--streams", "3", "--connections", "2"),
    ("--contacts", "6000", "--chunk", "7", "--repeats", "0.3"),
    ("--contacts", "6000", "--streams", "4", "--chunk", "10", "--repeats", "0.5"),
    ("--contacts", "10", "--prefix", "Große "),
], ids=["streams", "repeats", "streams that repeat", "refused"])
def test_a_run_is_read_back(flags, server, workspace):
    code, report, errors = end(load(server, *flags, workspace=workspace))
    assert code == (1 if report["failed"] else 0), errors
    found = report["verification"]
    assert found["acknowledged"] == found["stored"] == report["contacts"] - report["failed"]
    assert found["missing"] == found["different"] == 0
    assert "read back" in errors


def test_contacts_that_are_not_what_was_sent_are_told(own_servers):
    server = own_servers()
    with server.connect() as connection:
        connection.execute(SPOIL)
    code, report, errors = end(load(server, "--contacts", "3000"))
    assert code == 1, errors
    spoilt = server.query("SELECT count(*) FROM contacts WHERE first_name = 'nobody'")[0][0]
    found = report["verification"]
    assert found["different"] == spoilt > 100
    assert found["stored"] == 3000 - spoilt and found["missing"] == 0


def test_what_a_broken_run_was_told_is_there(own_servers, data_dir):
    server = own_servers(data_dir=data_dir)
    run = load(server, "--contacts", "200000", "--chunk", "50", "--streams", "2", "--rate", "20000")
    harness.wait_until(
        lambda: server.query("SELECT count(*) FROM contacts")[0][0] > 20000, 120, "contacts")
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    time.sleep(1)
    own_servers(data_dir=data_dir, arguments=("--listen", server.address))
    code, report, errors = end(run)
    assert code == 69, errors
    found = report["verification"]
    assert report["error"] and found["acknowledged"] == report["contacts"] > 0
    assert found["stored"] == found["acknowledged"]

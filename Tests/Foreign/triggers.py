"""Triggers of the database's owner, and a gate at which they wait."""

import contextlib

from harness import wait_until

GATE = 4711
PASS_THE_GATE = f"PERFORM pg_advisory_xact_lock({GATE}, 0)"


@contextlib.contextmanager
def trigger(server, name, body, constraint=False):
    """A trigger of contacts that are created, whose name begins with `name`."""
    kind, when, deferred = ("", "BEFORE", "")
    if constraint:
        kind, when, deferred = ("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED")
    with server.connect() as connection:
        connection.execute(
            f"CREATE FUNCTION on_{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            f" $$ BEGIN {body}; RETURN NEW; END $$")
        connection.execute(
            f"CREATE {kind} TRIGGER on_{name} {when} INSERT ON contacts {deferred} FOR EACH ROW"
            f" WHEN (starts_with(NEW.name, '{name}')) EXECUTE FUNCTION on_{name}()")
        try:
            yield
        finally:
            connection.execute(f"DROP FUNCTION on_{name} CASCADE")


@contextlib.contextmanager
def gate(server):
    """Closed while the block runs."""
    with server.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(%s, 0)", (GATE,))
        yield
        connection.execute("SELECT pg_advisory_unlock(%s, 0)", (GATE,))


def wait_for_one_at_the_gate(server):
    wait_until(lambda: server.query(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %s"
        " AND NOT granted", GATE), what="the wait at the gate")

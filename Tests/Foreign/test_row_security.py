"""The second line between workspaces: what PostgreSQL itself refuses to the service's role."""

import threading

import psycopg
import pytest

import harness
from harness import CREATED, bulk, get, request, upsert
from keys import make_key
from rpcs import create_list, lists
from stubs import pb
from tables import Tables

ROLE = "contacts_service"
TABLES = ["contacts", "lists", "list_members", "event_offsets", "events", "imports",
          "import_progress", "import_failures"]


@pytest.fixture(scope="module")
def secured():
    server = harness.Server(arguments=["--auth", "never"])
    server.mine, server.other = server.create_workspace(), server.create_workspace()
    for workspace in (server.mine, server.other):
        create_list(server.stub, workspace)
        response = upsert(
            server.stub, [pb.Contact(email="a@b.example"), pb.Contact(email="c@b.example"),
                          pb.Contact(email="a@b.example", name="x")],
            workspace, import_id="x", run_workflow=True, list_ids=[1])
        assert [result.status for result in response.results][:2] == [CREATED, CREATED]
        upsert(server.stub, [pb.Contact(email="d@b.example")], workspace, import_id="y",
               existence=pb.EXISTENCE_UPDATE_ONLY)
    make_key(server, "k", server.other)
    yield server
    server.close()


@pytest.fixture
def service(secured):
    """A connection as the service has it, for the workspace `mine`."""
    with secured.connect() as connection, Tables(secured, secured.mine) as tables:
        connection.execute(f"SET ROLE {ROLE}")
        connection.execute("SELECT set_config('contacts.workspaces', %s, false)",
                           [f"{{{tables.id}}}"])
        connection.mine = tables.id
        yield connection


@pytest.mark.parametrize("table", TABLES)
def test_a_forgotten_where_shows_and_touches_only_ones_own(secured, service, table):
    everything = secured.query(f"SELECT count(*) FROM {table}")[0][0]
    mine = secured.query(f"SELECT count(*) FROM {table} WHERE workspace_id = %s", service.mine)[0][0]
    assert 0 < mine < everything
    seen = service.execute(f"SELECT DISTINCT workspace_id FROM {table}").fetchall()
    assert seen == [(service.mine,)]
    with service.transaction(force_rollback=True):
        assert service.execute(
            f"UPDATE {table} SET workspace_id = workspace_id").rowcount == mine
        assert service.execute(f"DELETE FROM {table}").rowcount == mine


def test_a_forgotten_where_changes_no_other_workspace(service):
    with service.transaction(force_rollback=True):
        assert service.execute("UPDATE workspaces SET last_list_id = last_list_id + 1").rowcount == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("UPDATE workspaces SET unique_by = 1 WHERE id = %s", [service.mine])


@pytest.mark.parametrize("table", TABLES)
def test_a_row_cannot_be_moved_or_made_elsewhere(secured, service, table):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(f"UPDATE {table} SET workspace_id = %s", [service.mine + 1])
    columns = [row[0] for row in secured.query(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = %s AND column_name <> 'workspace_id'", table)]
    names = ", ".join(columns)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(
            f"INSERT INTO {table} (workspace_id, {names})"
            f" SELECT workspace_id + 1000, {names} FROM {table}")


@pytest.mark.parametrize("setting", ["", "{}"])
def test_without_a_workspace_nothing_is_seen(service, setting):
    service.execute("SELECT set_config('contacts.workspaces', %s, false)", [setting])
    for table in TABLES:
        assert service.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_the_role_owns_nothing_and_sees_no_key(secured, service):
    assert secured.query(
        "SELECT rolsuper, rolbypassrls, rolcanlogin, rolcreaterole FROM pg_roles"
        " WHERE rolname = %s", ROLE) == [(False, False, False, False)]
    assert secured.query(
        "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
        " WHERE r.rolname = %s AND c.relpersistence = 'p'", ROLE) == [(0,)]
    for statement in ("SELECT * FROM access_keys", "INSERT INTO workspaces (name, unique_by)"
                      " VALUES ('x', 1)", "TRUNCATE contacts", "DROP TABLE contacts"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(statement)


def test_a_trigger_of_the_owners_may_use_what_the_owner_made(secured):
    with secured.connect() as owner:
        owner.execute("""
            CREATE SEQUENCE audited;
            CREATE TABLE audit (number bigint, who text);
            CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO audit VALUES (nextval('audited'), current_user);
                RETURN NEW;
            END $$;
            CREATE TRIGGER audit AFTER INSERT ON contacts FOR EACH ROW
                WHEN (starts_with(NEW.email, 'audited')) EXECUTE FUNCTION audit()""")
    response = upsert(secured.stub, [pb.Contact(email="audited@b.example")], secured.mine)
    assert response.results[0].status == CREATED
    assert secured.query("SELECT number, who FROM audit") == [(1, ROLE)]
    with secured.connect() as owner:
        owner.execute("DROP FUNCTION audit CASCADE; DROP TABLE audit; DROP SEQUENCE audited")


def test_every_table_of_a_workspace_is_secured(secured):
    """A table that a later migration adds must not be forgotten."""
    found = secured.query(
        "SELECT c.relname, c.relrowsecurity FROM pg_class c JOIN pg_attribute a"
        " ON a.attrelid = c.oid AND a.attname = 'workspace_id'"
        " WHERE c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY 1")
    assert dict(found) == {table: True for table in TABLES} | {"access_keys": False}


def test_the_server_itself_is_held_to_it(secured):
    """With a policy that shows nothing, the server finds nothing: it works in the role."""
    name = secured.mine
    assert get(secured.stub, {"email": "a@b.example"}, workspace=name)[0].HasField("record")
    assert lists(secured.stub, name)
    hide = "ALTER POLICY own_workspace ON {} TO contacts_service USING (false) WITH CHECK (true)"
    with secured.connect() as owner:
        before = owner.execute(
            "SELECT qual FROM pg_policies WHERE policyname = 'own_workspace'"
            " AND tablename = 'contacts'").fetchone()[0]
        try:
            for table in ("contacts", "lists"):
                owner.execute(hide.format(table))
            entry, = get(secured.stub, {"email": "a@b.example"}, workspace=name)
            assert not entry.HasField("record")
            assert not lists(secured.stub, name)
            # The lanes look first, and do not see that it stands.
            response = upsert(
                secured.stub, [pb.Contact(email="a@b.example", name="z")], name,
                existence=pb.EXISTENCE_UPDATE_ONLY)
            assert response.results[0].error.reason == "NOT_FOUND"
        finally:
            for table in ("contacts", "lists"):
                owner.execute(f"ALTER POLICY own_workspace ON {table} USING ({before})"
                              f" WITH CHECK ({before})")
    assert get(secured.stub, {"email": "a@b.example"}, workspace=name)[0].HasField("record")


def test_large_imports_of_two_workspaces_at_once(secured):
    """Through COPY, which runs as the user, and through shared transactions."""
    outcomes = {}
    def run(workspace):
        outcomes[workspace] = bulk(secured.stub, [
            request([pb.Contact(email=f"n{number}@{workspace}.example")
                     for number in range(start, start + 500)])
            for start in range(0, 5000, 500)], workspace)

    threads = [threading.Thread(target=run, args=[name]) for name in (secured.mine, secured.other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, outcome in outcomes.items():
        outcome.check_ok(5000)
        assert len(secured.rows(name)) >= 5000


def test_a_database_user_who_may_make_no_role(secured, own_servers):
    with secured.connect() as owner:
        owner.execute("CREATE ROLE plain LOGIN")
        owner.execute("CREATE DATABASE plain OWNER plain")
    url = secured.conninfo().replace("user=postgres", "user=plain").replace(
        "dbname=contacts", "dbname=plain")
    server = own_servers(database_url=url)
    assert "".join(server.log).count("row security is off") == 1
    assert upsert(server.stub, [pb.Contact(email="a@b.example")]).results[0].status == CREATED
    server.stop()
    server = own_servers(database_url=url, arguments=["--no-migrate"])
    assert "".join(server.log).count("row security is off") == 1
    server.stop()
    with secured.connect() as owner:
        owner.execute(f"GRANT {ROLE} TO plain")
    server = own_servers(database_url=url)
    assert "row security is off" not in "".join(server.log)
    assert get(server.stub, {"email": "a@b.example"})[0].HasField("record")
    assert server.query("SELECT relrowsecurity FROM pg_class WHERE relname = 'contacts'") == \
        [(True,)]


def test_a_database_that_was_prepared_before_gets_the_newest_policy(data_dir):
    """Until then it keeps what it has."""
    policies = "SELECT count(*) FROM pg_policies WHERE policyname = 'own_workspace'"
    server = harness.Server(data_dir=data_dir)
    with server.connect() as owner:
        owner.execute("DROP POLICY own_workspace ON workspaces")
    server.stop()
    for arguments, count in [(["--no-migrate"], len(TABLES)), ([], len(TABLES) + 1)]:
        server = harness.Server(data_dir=data_dir, arguments=arguments)
        try:
            assert server.query(policies) == [(count,)]
            assert not any("row security is off" in line for line in server.log)
            upsert(server.stub, [pb.Contact(email="a@b.example")])
        finally:
            server.stop()

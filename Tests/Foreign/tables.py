"""Rows as the writers make them, for the tests of what reads them."""

import uuid

import harness

COLUMNS = ("id", "email", "phone", "external_id", "name", "first_name", "last_name")


class Tables:
    """A workspace's tables, through a connection of the test's own."""

    def __init__(self, server, workspace, connection=None):
        self.connection = connection or server.connect()
        self.id = self.one("SELECT id FROM workspaces WHERE name = %s", workspace)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def rows(self, sql, *parameters):
        return self.connection.execute(sql, parameters or None).fetchall()

    def one(self, sql, *parameters):
        return self.rows(sql, *parameters)[0][0]

    def run(self, sql, *parameters):
        return self.connection.execute(sql, parameters or None).rowcount

    def add_contacts(self, count, start=0, fields="'{}'"):
        """Contacts whose ids grow with their numbers; returns the ids."""
        ids = [str(uuid.UUID(int=(0x0190 << 112) | (7 << 76) | (2 << 62) | (start + n + 1)))
               for n in range(count)]
        self.run(
            "INSERT INTO contacts (workspace_id, id, unique_by, email, fields)"
            f" SELECT %s, id, 1, 'n' || (%s + n) || '@x.example', {fields}"
            " FROM unnest(%s::uuid[]) WITH ORDINALITY AS i (id, n)", self.id, start, ids)
        return ids

    def add_members(self, list_id, ids):
        self.run(
            "INSERT INTO list_members (workspace_id, contact_id, list_id)"
            " SELECT %s, id, %s FROM unnest(%s::uuid[]) AS i (id) ON CONFLICT DO NOTHING",
            self.id, list_id, list(ids))

    def members(self, list_id=None):
        return self.one(
            "SELECT count(*) FROM list_members WHERE workspace_id = %s AND"
            " (%s::bigint IS NULL OR list_id = %s)", self.id, list_id, list_id)

    def take_offsets(self, count):
        """Locks the workspace's offsets until the COMMIT; returns the first of those taken."""
        last = self.one(
            "INSERT INTO event_offsets (workspace_id, last_offset) VALUES (%s, %s)"
            " ON CONFLICT (workspace_id)"
            " DO UPDATE SET last_offset = event_offsets.last_offset + EXCLUDED.last_offset"
            " RETURNING last_offset", self.id, count)
        return last - count + 1

    def write_events(self, count, import_id="import", occurred="now()", fields="'{}'",
                     list_ids="{}"):
        """Inside a transaction: events as a lane writes them; returns their offsets."""
        first = self.take_offsets(count)
        self.run(
            "INSERT INTO events (workspace_id, event_offset, type, import_id, contact_id, email,"
            " fields, list_ids, created_at, occurred_at)"
            " SELECT %s, n, 1 + n %% 2, %s, gen_random_uuid(), 'e' || n || '@x.example',"
            f" {fields}, %s::bigint[], now() - interval '1 hour', {occurred}"
            " FROM generate_series(%s::bigint, %s::bigint) n",
            self.id, import_id, list_ids, first, first + count - 1)
        self.run("SELECT pg_notify('contacts_events', %s)", str(self.id))
        return list(range(first, first + count))

    def add_events(self, count, **settings):
        with self.connection.transaction():
            return self.write_events(count, **settings)

    def remove_events(self, through):
        """As the sweeper removes them."""
        with self.connection.transaction():
            self.run(
                "DELETE FROM events WHERE workspace_id = %s AND event_offset <= %s",
                self.id, through)
            self.run(
                "UPDATE event_offsets SET removed_through = %s WHERE workspace_id = %s",
                through, self.id)


def workspace_command(server, *arguments):
    """Runs `contactsd workspace`; returns the finished process."""
    place = (["--database-url", server.database_url] if server.database_url
             else ["--data-dir", server.data_dir])
    return harness.run([harness.CONTACTSD, "workspace", *arguments, *place])

"""What the README prints works as printed."""

import re
import subprocess
import sys

from harness import field, upsert
from keys import make_key
from stubs import REPOSITORY, pb

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def block(language, containing):
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    return next(text for text in blocks if containing in text)


def test_the_python_client_of_the_readme_works_as_printed(own_servers, tmp_path):
    server = own_servers()
    command = block("sh", "grpc_tools.protoc").split()
    assert command[0] == "python"
    command[0] = sys.executable
    command = [part.replace("-Iproto", f"-I{REPOSITORY}/proto").replace("out=.", f"out={tmp_path}")
               for part in command]
    subprocess.run(command, check=True, timeout=60)
    program = tmp_path / "client.py"
    # Only the port and the key are the test's own.
    program.write_text(
        block("python", "BulkUpsert").replace("127.0.0.1:50051", server.address))
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "key").write_text(make_key(server) + "\n")
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=True,
        cwd=tmp_path)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [int(line[0]) for line in lines] == list(range(1, 1001))
    assert {line[1] for line in lines} <= {
        "UPSERT_STATUS_CREATED", "UPSERT_STATUS_UPDATED", "UPSERT_STATUS_UNCHANGED"}
    assert len({line[2] for line in lines}) == 1000


def test_every_make_target_of_the_readme_exists():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z][a-z-]*)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_queries_of_the_readme_find_contacts_and_use_the_index(server, stub, domain):
    upsert(stub, [
        pb.Contact(email=f"new@{domain}", fields=[
            field("plan", "premium"), field("joined", timestamp_value={"seconds": 1777627800})]),
        pb.Contact(email=f"old@{domain}", fields=[
            field("plan", "premium"), field("joined", timestamp_value={"seconds": 0})])])
    query, index = block("sql", "SELECT id"), block("sql", "CREATE INDEX")
    found = {email: plan for _, email, plan in server.query(query)}
    assert found[f"new@{domain}"] == "premium" and f"old@{domain}" not in found
    with server.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(index.replace("CONCURRENTLY ", ""))
        connection.execute("""
            INSERT INTO contacts (workspace_id, id, unique_by, fields)
            SELECT 1, gen_random_uuid(), 1, jsonb_build_object('plan', n)
            FROM generate_series(1, 20000) n""")
        connection.execute("ANALYZE contacts")
        plan = connection.execute("EXPLAIN " + query).fetchall()
    assert any("contacts_fields" in row[0] for row in plan), plan

"""Liveness and readiness over HTTP/1.1."""

import http.client
import re

import harness
from test_database import Cluster


def get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_the_admin_address_tells_life_and_readiness():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url, arguments=["--admin", "127.0.0.1:0"])
    try:
        port = int(re.search(r"admin=127\.0\.0\.1:(\d+)", "".join(server.log)).group(1))
        assert get(port, "/livez") == (200, "ok\n")
        harness.wait_until(lambda: get(port, "/readyz") == (200, "ok\n"), 10, "readiness")
        cluster.stop()
        harness.wait_until(lambda: get(port, "/readyz")[0] == 503, 10, "the loss to show")
        assert get(port, "/livez")[0] == 200
        assert get(port, "/nothing")[0] == 404
        assert get(port, "/livez", "POST")[0] == 405
    finally:
        cluster.start()
        server.close()
        cluster.close()

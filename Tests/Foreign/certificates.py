"""Certificates for tests, made by the openssl command."""

import itertools
import pathlib
import subprocess

_numbers = itertools.count(1)

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr


class Pair:
    """A certificate and its key, as paths."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @property
    def bytes(self):
        return self.certificate.read_bytes(), self.key.read_bytes()


class Authority:
    """Signs certificates, and is one that others may trust."""

    def __init__(self, directory, name="Test Authority"):
        self.directory = pathlib.Path(directory) / f"authority-{next(_numbers)}"
        self.directory.mkdir(parents=True)
        self.certificate = self.directory / "ca.pem"
        self.key = self.directory / "ca.key"
        openssl("req", "-x509", *KEY, "-keyout", self.key, "-out", self.certificate, "-days", 2,
                "-subj", f"/CN={name}")

    def issue(self, name, alternatives=None, days=2):
        """`alternatives` as openssl has them, such as "DNS:localhost,IP:127.0.0.1"."""
        base = self.directory / f"{next(_numbers)}"
        paths = {suffix: base.with_suffix(f".{suffix}") for suffix in ("pem", "key", "csr", "ext")}
        paths["ext"].write_text(
            "basicConstraints=critical,CA:FALSE\n"
            + (f"subjectAltName={alternatives}\n" if alternatives else ""))
        openssl("req", *KEY, "-keyout", paths["key"], "-out", paths["csr"], "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", paths["csr"], "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-out", paths["pem"], "-days", days, "-extfile", paths["ext"])
        return Pair(paths["pem"], paths["key"])

    def issue_server(self, days=2):
        return self.issue("contacts", "DNS:localhost,IP:127.0.0.1", days)

"""The server of the interop cases, and its stubs; no database is behind it."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

from grpc_tools import protoc

from stubs import REPOSITORY

INTEROPSERVER = os.environ.get(
    "INTEROPSERVER", str(REPOSITORY / ".build" / "debug" / "interopserver"))

_folder = tempfile.mkdtemp(prefix="interop-stubs-")
atexit.register(shutil.rmtree, _folder, True)
_arguments = [
    "protoc", f"--proto_path={REPOSITORY / 'Tests' / 'Interop'}", f"--python_out={_folder}",
    f"--grpc_python_out={_folder}", "testing.proto"]
if protoc.main(_arguments) != 0:
    raise RuntimeError("protoc refuses the interop proto")
sys.path.insert(0, _folder)

import testing_pb2 as pb  # noqa: E402
import testing_pb2_grpc as rpc  # noqa: E402

__all__ = ["InteropServer", "pb", "rpc"]


class InteropServer:
    """Ends with this process at the latest: it reads our end of a pipe."""

    def __init__(self):
        self.process = subprocess.Popen(
            [INTEROPSERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"the interop server does not start: {line!r}"
        self.address = line.split()[-1]
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=20)

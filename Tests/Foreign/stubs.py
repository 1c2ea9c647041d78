"""The client's stubs, generated from the published proto by stock protoc into a temporary folder."""

import atexit
import pathlib
import shutil
import sys
import tempfile

from importlib import resources

from grpc_tools import protoc

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROTO = REPOSITORY / "proto"

_folder = tempfile.mkdtemp(prefix="contacts-stubs-")
atexit.register(shutil.rmtree, _folder, True)
_arguments = [
    "protoc",
    f"--proto_path={PROTO}",
    f"--proto_path={resources.files('grpc_tools') / '_proto'}",
    f"--python_out={_folder}",
    f"--grpc_python_out={_folder}",
    "contacts/v1/contacts.proto",
]
if protoc.main(_arguments) != 0:
    raise RuntimeError("protoc refuses the published proto")
sys.path.insert(0, _folder)

from contacts.v1 import contacts_pb2 as pb  # noqa: E402
from contacts.v1 import contacts_pb2_grpc as rpc  # noqa: E402

__all__ = ["PROTO", "REPOSITORY", "pb", "rpc"]

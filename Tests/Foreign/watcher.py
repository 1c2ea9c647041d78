"""Reads events and prints offset, type and contact id of each, until it is killed.

    python watcher.py ADDRESS WORKSPACE AFTER_OFFSET
"""

import sys

import grpc

from rpcs import watch
from stubs import rpc

if __name__ == "__main__":
    address, workspace, after = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        for event in watch(rpc.ContactServiceStub(channel), workspace, int(after), timeout=110)[1]:
            print(event.offset, event.type, event.contact_id, flush=True)

"""Faults of a network and of a Hub, switched on by a test for the next requests that match.

    hub_server.fault("reset", path=r"/storage/", times=2)
    hub_server.fault("status", path=r"/api/models/", status=429, retry_after=1)
    hub_server.fault("before", path=r"/commit/", action=lambda: hub_server.add_commit("me/net", {"a.txt": b"a"}))

Kinds:
    drop        half of the answer (or of an upload's body), then the connection is closed; `at` moves the half
    reset       the same with a TCP reset
    silent      the connection is closed before anything was answered, and nothing was done
    lost        everything is done, and the connection is closed without an answer
    status      nothing is done; `status`, `code` (X-Error-Code), `message`, `retry_after` and `headers` are answered
    truncated   `at` of the bytes, and the answer's own Content-Length agrees with them
    corrupted   the right number of bytes, some of them flipped (of an upload: as it arrives)
    slow        `seconds` of silence before the answer
    crawling    the answer in `pieces`, `seconds` apart
    before      calls `action()` first, then answers as usual: for whatever happens meanwhile
"""

import os
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import sleep  # bound here, so that a test that hurries the client's pauses leaves these

KINDS = {"drop", "reset", "silent", "lost", "status", "truncated", "corrupted", "slow", "crawling", "before"}


@dataclass
class Fault:
    """One fault; see the module's docstring."""

    kind: str
    path: str = ""
    method: str | None = None
    times: int = 1
    skip: int = 0
    at: float = 0.5
    status: int = 500
    code: str | None = None
    message: str = "Internal Error - We're working hard to fix this as soon as possible!"
    retry_after: int | None = None
    headers: dict = field(default_factory=dict)
    seconds: float = 0.2
    pieces: int = 10
    action: Callable | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {sorted(KINDS)}")

    def matches(self, method, path):
        wanted = {self.method} if self.method else {"GET", "POST", "PUT", "DELETE", "HEAD"}
        return self.times > 0 and method in wanted and re.search(self.path, path) is not None


class Faults:
    """The faults that are switched on; each is used up by the requests it meets."""

    def __init__(self):
        self.rows, self._lock = [], threading.Lock()

    def add(self, *args, **kwargs):
        self.rows.append(Fault(*args, **kwargs))
        return self.rows[-1]

    def take(self, method, path):
        """Returns the first fault for a request, and counts it; None when all is well."""
        with self._lock:
            for fault in self.rows:
                if fault.matches(method, path):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None


def flipped(content):
    """Returns bytes of the same length with one bit changed in the middle and one at three quarters."""
    changed = bytearray(content)
    for position in {len(changed) // 2, len(changed) * 3 // 4} if changed else ():
        changed[position] ^= 0x10
    return bytes(changed)


def hang_up(connection, reset=False):
    """Ends a connection: cleanly, or with a TCP reset (a linger time of zero makes the kernel send one)."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())  # at once: `close` would wait for the files made of the socket, and send a FIN
    else:
        connection.shutdown(socket.SHUT_RDWR)


def trickle(write, content, fault):
    """Writes content in pieces with pauses."""
    step = max(1, len(content) // fault.pieces)
    for start in range(0, len(content), step):
        write(content[start : start + step])
        sleep(fault.seconds)

"""HTTP as the loopback Hub speaks it: a request is logged, meets its fault, and is handed to the route that answers."""

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep  # bound here, so that a test that hurries the client's pauses leaves these
from urllib.parse import parse_qs, quote, unquote

from hub_faults import flipped, hang_up, trickle
from hub_repos import Refused


@dataclass
class Seen:
    """One request of the log. `sent` counts the bytes of the answer's body; a token is never kept."""

    method: str
    path: str
    where: str
    user: str | None = None
    range: str | None = None
    status: int | None = None
    sent: int = 0
    received: int = 0
    fault: str | None = None


@dataclass
class Answer:
    """What is sent back; `body` is bytes, or anything that JSON can say."""

    body: object = b""
    status: int = 200
    headers: dict | None = None


ROUTES = []


def route(methods, pattern, where="hub"):
    """Registers a method of `Handler` for the paths that match; `{repo}` and others match quoted segments."""
    parts = {"{repo}": r"(?P<repo>[^/]+/[^/]+?)", "{rev}": r"(?P<rev>[^/]+)", "{path}": r"(?P<path>.+)"}
    for name, expression in parts.items():
        pattern = pattern.replace(name, expression)

    def register(function):
        ROUTES.append((methods.split(), re.compile(pattern), where, function))
        return function

    return register


class Server(ThreadingHTTPServer):
    """A thread for each connection; clients that go away are no news."""

    request_queue_size = 64
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Wire(BaseHTTPRequestHandler):
    """Answers one connection; each route is a method that returns an `Answer`, or JSON, or raises `Refused`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *args):
        """Nothing is printed; `HubServer.log` has it."""

    def _serve(self):
        self.where = self.server.where
        if self.path.startswith("http://"):  # as to a proxy, which this server then is to itself
            _, _, host, *rest = self.path.split("/", 3)
            self.path = f"/{''.join(rest)}"
            self.where = "storage" if self.hub.storage_url.endswith(host) else "hub"
            self.hub.proxied.append(host)
        raw_path, _, query = self.path.partition("?")
        self.query = {name: values[-1] for name, values in parse_qs(query).items()}
        user = self.hub.tokens.get(self._token() or "")
        self.seen = Seen(self.command, self.path, self.where, user and user["name"], self.headers.get("Range"))
        self.hub.log.append(self.seen)
        self.active = self.hub.faults.take(self.command, self.path)
        kind = self.active and self.active.kind
        self.seen.fault = kind
        self.body = self._received(self.active.at if kind in ("drop", "reset") and self.command == "PUT" else 1)
        if kind == "silent" or self.body is None:
            return self._hang_up(reset=kind == "reset")
        if kind in ("slow", "before"):
            sleep(self.active.seconds) if kind == "slow" else self.active.action()
        if kind == "corrupted" and self.command == "PUT":
            self.body = flipped(self.body)
        answer = self._fault_status() if kind == "status" else self._routed(raw_path)
        return self._hang_up() if kind == "lost" else self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  http.server looks for these names

    def _received(self, share):
        """Returns the body of the request; None when it did not come whole, or only a share of it is to be read."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(pieces)
            return body if share == 1 else None
        announced = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(int(announced * share))
        self.seen.received = len(body)
        return body if len(body) == announced and share == 1 else None

    def _fault_status(self):
        fault = self.active
        headers = {**fault.headers, **({} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)})}
        return self._refusal(Refused(fault.status, fault.message, fault.code, headers))

    def _routed(self, path):
        for methods, pattern, where, function in ROUTES:
            found = pattern.fullmatch(path)
            if found and self.command in methods and where == self.where:
                values = {name: value and unquote(value) for name, value in found.groupdict().items()}
                try:
                    with self.hub.lock:
                        answer = function(self, **values)
                except Refused as refused:
                    return self._refusal(refused)
                return answer if isinstance(answer, Answer) else Answer(answer)
        return self._refusal(Refused(404, f"Sorry, we can't find the page {self.command} {path}."))

    def _refusal(self, refused):
        headers = {"X-Error-Message": refused.message, **refused.headers}
        if refused.code:
            headers["X-Error-Code"] = refused.code
        return Answer({"error": refused.message, **refused.body}, refused.status, headers)

    def _send(self, answer):
        body = answer.body
        headers = {"X-Request-Id": f"Root=1-{len(self.hub.log):08x}", **(answer.headers or {})}
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json; charset=utf-8"
        kind = self.active and self.active.kind
        if self.command == "HEAD":
            length, body = headers.pop("Content-Length", len(body)), b""
        else:
            if kind == "corrupted" and self.command != "PUT":
                body = flipped(body)
            if kind == "truncated":
                body = body[: int(len(body) * self.active.at)]
            length = len(body)
        breaks = kind in ("drop", "reset")
        if breaks and not body:
            return self._hang_up(reset=kind == "reset")
        self.seen.status = answer.status
        kept = body[: int(len(body) * self.active.at)] if breaks else body
        with contextlib.suppress(ConnectionError):  # the client was killed, or waits no longer
            self.send_response(answer.status)
            for name, value in {**headers, "Content-Length": length}.items():
                self.send_header(name, str(value))
            self.end_headers()
            trickle(self.wfile.write, kept, self.active) if kind == "crawling" else self.wfile.write(kept)
        self.seen.sent = len(kept)
        return self._hang_up(reset=kind == "reset") if breaks else None

    def _hang_up(self, reset=False):
        self.close_connection = True
        sleep(0.05)  # what was written leaves before the reset overtakes it
        with contextlib.suppress(OSError):
            hang_up(self.connection, reset)

    def _token(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    def _json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, "the body is not JSON") from None

    def _page(self, rows):
        """Returns one page of rows, with the address of the next one."""
        start, size = int(self.query.get("cursor", 0)), self.hub.page_size
        headers = {}
        if start + size < len(rows):
            path = self.path.partition("?")[0]
            query = "&".join(f"{k}={quote(v)}" for k, v in {**self.query, "cursor": str(start + size)}.items())
            headers["Link"] = f'<{self.hub.url}{path}?{query}>; rel="next"'
        return Answer(rows[start : start + size], headers=headers)

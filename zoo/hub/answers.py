"""What the Hugging Face Hub's client raises, in a sentence that says what to do. No token is ever in it."""

import os
import re
import time

from zoo.errors import IntegrityError, StoreError, UnknownName, ZooError, invalid
from zoo.files import store_error

_SECRET = re.compile(r"hf_[A-Za-z0-9]{4,}|(?i:bearer)\s+\S+|://[^/\s@]+@|\?\S+")
_LOGIN = "Set HF_TOKEN to a token of an account that may, or log in with `hf auth login`."
_LATER = "Run the same command again later: it goes on where this one stopped."
_SHOWN = 240  # characters of what a server says


class NoAnswer(StoreError):
    """The Hub cannot be reached, takes too long, breaks off, or reports a fault of its own: it may work later."""


class Stale(StoreError):
    """The branch has moved on since the commit that a push builds on."""


def asked(call, where, doing="read", *, tries=1, wait=1.0):
    """Returns what `call` returns, after `tries` attempts while the Hub does not answer; its errors are worded.

    The errors are raised outside of any handler, so that no traceback leads to a request and its headers.

    Args:
        call: function without arguments.
        where: the reference that was asked for, as a user writes it.
        doing: "read" or "change", what the token has to allow.
        tries: how often; the pauses double from `wait` seconds.

    Raises:
        As `worded` returns.
    """
    for attempt in range(tries):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        problem, again = None, False
        try:
            return call()
        except ZooError:
            raise
        except Exception as error:  # the client has a dozen classes, its HTTP library more, and the disk its own
            problem = worded(error, where, doing)
            again = isinstance(problem, NoAnswer) and not _refused_at_once(error)
        if not again:
            break
    raise problem


def _refused_at_once(error):
    """Says whether waiting a second cannot help: offline mode, no route, no such host, a bad certificate."""
    return type(error).__name__ in ("OfflineModeIsEnabled", "ConnectError", "ProxyError", "UnsupportedProtocol")


def worded(error, where, doing="read"):
    """Returns the `ZooError` that says what an error of the client means and what to do about it.

    Returns:
        `NoAnswer`: the network or the Hub fails; the same may work later.
        `Stale`: the branch moved on.
        `UnknownName`: there is no such repository or revision, or none that this account may see.
        `IntegrityError`: a file that was listed is not there, or another arrived.
        `StoreError`: not allowed, too often, or the disk does not take it.
    """
    from huggingface_hub import errors

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled) or isinstance(error.__cause__, errors.OfflineModeIsEnabled):
        return NoAnswer(f"{where} was not asked for: HF_HUB_OFFLINE is set. Unset it to use the network.")
    if isinstance(error, errors.LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return worded(error.__cause__, where, doing)
    if status is not None:
        return _answer(error, response, status, where, doing)
    if isinstance(error, errors.HFValidationError):
        return invalid(
            "the Hub does not allow this name", where, "Letters, digits, '.', '_' and '-' make owner and name."
        )
    return _transport(error, where)


def _answer(error, response, status, where, doing):
    """Words an answer that the Hub gave."""
    from huggingface_hub import errors

    sent = "authorization" in response.request.headers
    said = _said(error)
    if isinstance(error, errors.GatedRepoError):
        return StoreError(
            f"{where} is gated: its authors ask you to accept their terms first. Open {_page(response, where)} in a "
            "browser, accept them, and run the same command again "
            + ("; HF_TOKEN must be of that account." if sent else "with HF_TOKEN set to a token of your account.")
        )
    if isinstance(error, errors.DisabledRepoError):
        return StoreError(f"{where} was disabled by the Hub or its authors. Use another model.{said}")
    if isinstance(error, errors.RevisionNotFoundError):
        return UnknownName(f"no such revision: {where}. Write a branch, a tag, or a commit of that repository.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return IntegrityError(f"a file of {where} is listed and not there. Nothing was kept. Pull another revision.")
    if status == 401 and sent:
        return StoreError(
            f"the Hub refused the token that was sent for {where}: it is wrong or no longer valid. Set HF_TOKEN to a "
            "valid one or log in again with `hf auth login`; for public models unset it."
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        account = "the account of your token may not see it" if sent else "it is private"
        return UnknownName(f"no repository named {where!r} on the Hub, or {account}. Check the name. {_LOGIN}")
    if status == 403:
        return StoreError(f"you may not {doing} {where} (403 of the Hub). {_LOGIN}{said}")
    if status == 412:
        return Stale(
            f"{where} has moved on meanwhile. Nothing was changed. Pull it, look at what is new, and push again."
        )
    if status == 429:
        return StoreError(
            f"the Hub answers no more requests for now (429){_wait(response)}. {_LATER}"
            + ("" if sent else " With HF_TOKEN set it allows more.")
        )
    if status >= 500 or status == 408:
        return NoAnswer(f"the Hub failed to answer for {where} (status {status}). {_LATER}")
    if status == 416:
        return IntegrityError(f"a file of {where} is shorter than the Hub says. Nothing of it was kept.")
    if status == 413:
        return StoreError(f"the Hub does not take a file of this size for {where} (413).{said}")
    return StoreError(f"the Hub refused what was asked of {where} (status {status}).{said}")


def _transport(error, where):
    """Words what happened on the way to the Hub or on this machine's disk."""
    import httpx2

    text = clean(error)
    if isinstance(error, httpx2.ProxyError):
        return NoAnswer(
            f"the proxy did not let a request for {where} pass ({text}). Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
        )
    if isinstance(error, httpx2.HTTPError) and re.search(r"ssl|certificate|tls", text, re.IGNORECASE):
        return NoAnswer(
            f"no trusted connection for {where} ({text}). Check the clock, and behind a proxy that opens connections "
            "set SSL_CERT_FILE to its certificate."
        )
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return NoAnswer(
            f"the Hub took too long to answer for {where}. {_LATER} HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_ETAG_TIMEOUT "
            "set the seconds it may take."
        )
    if isinstance(error, httpx2.ConnectError):
        return NoAnswer(
            f"no connection for {where} ({text}). Check the network, HF_ENDPOINT and the proxy settings; "
            "HF_HUB_OFFLINE=1 uses what was pulled before."
        )
    if isinstance(error, ConnectionError | RuntimeError) and "xet" in text.lower():
        return StoreError(
            f"the Xet storage of the Hub failed for {where} ({text}). Run the same command again, or set "
            "HF_HUB_DISABLE_XET=1 to do without it, as a mirror that has none needs."
        )
    if isinstance(error, httpx2.HTTPError | ConnectionError):
        return NoAnswer(f"the connection for {where} broke off ({text or type(error).__name__}). {_LATER}")
    if isinstance(error, OSError) and error.errno is not None:
        return store_error(error, error.filename or "the cache", kept="Nothing else was changed.")
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return NoAnswer(f"a transfer for {where} ended early. {_LATER}")
    xet = " If it is Xet that fails here, HF_HUB_DISABLE_XET=1 goes without." if "xet" in text.lower() else ""
    return StoreError(f"{where} could not be exchanged with the Hub ({type(error).__name__}: {text}).{xet}")


def _page(response, where):
    """Returns the address of the repository's page, for a user to open."""
    repo = where.removeprefix("hf://").partition("@")[0]
    url = response.request.url
    return f"{url.scheme}://{url.netloc.decode()}/{repo}"


def _wait(response):
    """Returns " and asks to wait N s" where the answer says how long."""
    from huggingface_hub.utils import parse_ratelimit_headers

    found = parse_ratelimit_headers(response.headers)
    given = response.headers.get("retry-after", "")
    seconds = int(given) if given.isdigit() else getattr(found, "reset_in_seconds", None)
    return "" if seconds is None else f" and asks to wait {seconds} s"


def _said(error):
    text = clean(getattr(error, "server_message", None) or "")
    return f" It says: {text}" if text else ""


def clean(text):
    """Returns what another program said on one line, without tokens, and without the signed part of addresses."""
    text = " ".join(str(text).split())
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        secret = os.environ.get(name)
        text = text.replace(secret, "...") if secret else text
    text = _SECRET.sub("...", text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

"""The weight files that Keras publishes for `keras.applications`, as a store that is only read.

`keras.applications/ResNet50` is a repository of one revision: the file whose MD5 the installed Keras has in its source.
`keras.utils.get_file` downloads it; the revision is made of that hash, so another Keras that has another file for the
name has another revision. A file that Keras itself once downloaded is used.
"""

import contextlib
import hashlib
import io
import os
import re
import socket
import sys
from pathlib import Path

from zoo.cache import TIMEOUT
from zoo.errors import IntegrityError, unknown
from zoo.files import copy_hashed, sha256_of
from zoo.hub.answers import NoAnswer

OWNER = "keras.applications"
CLASS_INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"  # as in keras.applications.imagenet_utils.decode_predictions
_TRUE = ("1", "ON", "YES", "TRUE")


class KerasStore:
    """What `keras.applications` downloads, with `zoo.hub.store.Store`'s methods for reading."""

    content_addressed = False
    prefix = f"{OWNER}/"

    def __init__(self):
        self.quiet = False

    @property
    def offline(self):
        """Whether HF_HUB_OFFLINE forbids every request; it means this store too."""
        return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE

    def label(self, repo):
        return repo

    def key(self, repo):
        return f"{repo.replace('/', '--')}--"

    def resolve(self, repo, revision=None):
        """Returns the revision, 40 digits; whole ones are believed here, as a copy of it may be in the cache.

        Raises:
            UnknownName: zoo converts no such application, or the installed Keras has another file.
        """
        digits = _revision(repo)
        if re.fullmatch("[0-9a-f]{40}", revision or ""):
            return revision
        if revision in (None, "main") or (len(revision) >= 7 and digits.startswith(revision)):
            return digits
        raise _another(repo, revision)

    def _sources(self, repo):
        """Returns dict, name of a file -> `(address, MD5)`."""
        from keras.src.applications import imagenet_utils, inception_v3, resnet, xception

        from zoo.hub.convert.keras_applications import CLASS_INDEX

        application = _application(repo)
        module = {"inception_v3": inception_v3, "xception": xception}.get(application.stem)
        file = application.files[0]
        address = module.WEIGHTS_PATH if module else resnet.BASE_WEIGHTS_PATH + file
        return {
            file: (address, application.hashes[0]),
            CLASS_INDEX: (imagenet_utils.CLASS_INDEX_PATH, CLASS_INDEX_MD5),
        }

    def files(self, repo, commit):
        """Returns dict, name -> None, of the files; Keras does not say how large they are.

        Raises:
            UnknownName: the installed Keras has another file than that of this revision.
        """
        if commit != _revision(repo):
            raise _another(repo, commit)
        return dict.fromkeys(self._sources(repo))

    def hashes(self, repo, commit):
        return {name: ("md5", md5) for name, (_, md5) in self._sources(repo).items()}

    def fetch(self, repo, commit, name, destination, limit):
        """Brings one file here and compares it with Keras's hash. Returns `(size, sha256)`.

        Raises:
            IntegrityError: what came is not the published file; nothing is kept.
            NoAnswer: it cannot be downloaded; the message says how to get it by hand.
        """
        address, md5 = self._sources(repo)[name]
        destination = Path(destination)
        if not _is(destination, md5):
            destination.unlink(missing_ok=True)
            own = _kept_by_keras(name)
            if _is(own, md5):
                copy_hashed(own, destination)
            else:
                self._download(repo, name, address, md5, destination)
        if not _is(destination, md5):
            destination.unlink(missing_ok=True)
            raise _changed(repo, name, address)
        return destination.stat().st_size, sha256_of(destination)

    def _download(self, repo, name, address, md5, destination):
        import keras

        by_hand = f"Get {name} from {address} by hand, put it in {_kept_by_keras(name).parent}, and run this again."
        if self.offline:
            raise NoAnswer(f"{repo} is not on this machine, and HF_HUB_OFFLINE is set. Unset it, or: {by_hand}")
        watched = sys.stderr.isatty() and not self.quiet
        timeout = socket.getdefaulttimeout()
        problem = None
        try:
            socket.setdefaulttimeout(TIMEOUT)  # Keras sets none, and would wait forever
            with contextlib.redirect_stdout(sys.stderr if watched else io.StringIO()):
                options = {"cache_dir": str(destination.parent), "cache_subdir": "", "file_hash": md5}
                keras.utils.get_file(destination.name, origin=address, **options)
        except ValueError:  # another hash
            destination.unlink(missing_ok=True)
            problem = _changed(repo, name, address)
        except Exception as error:  # Keras words failures of the network as a plain Exception
            problem = NoAnswer(f"{name} of {repo} cannot be downloaded ({str(error)[:240]}). {by_hand}")
        finally:
            socket.setdefaulttimeout(timeout)
        if problem:
            raise problem


def _application(repo):
    from zoo.hub.convert.keras_applications import APPLICATIONS

    key = repo.removeprefix(f"{OWNER}/")
    if key not in APPLICATIONS:
        raise unknown("network of keras.applications that zoo has", key, APPLICATIONS)
    return APPLICATIONS[key]


def _revision(repo):
    return hashlib.sha256(f"{repo} {_application(repo).hashes[0]}".encode()).hexdigest()[:40]


def _another(repo, revision):
    works = "Another version of Keras published it, or nobody did."
    return unknown(f"revision of {repo}", revision, [_revision(repo)], works=works)


def _kept_by_keras(name):
    """Returns where Keras keeps, or would keep, a file that it downloads."""
    from keras.src.backend import config

    return Path(config.keras_home()).expanduser() / "models" / name


def _is(path, md5):
    from zoo.hub.convert.keras_applications import md5_of

    return path.is_file() and not path.is_symlink() and md5_of(path) == md5


def _changed(repo, name, address):
    return IntegrityError(
        f"what came from {address} is not the {name} of {repo}: its MD5 is not the one that Keras publishes. Nothing "
        "was kept. Try again, or look for a proxy in between."
    )

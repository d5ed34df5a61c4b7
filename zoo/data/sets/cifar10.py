"""CIFAR-10: 60,000 colour photographs of 32 x 32 pixels in ten classes.

The test part is the official one; 5,000 of the 50,000 training images, stratified by class, are held out for
validation, or as many as `validation` says. Pixels are standardised by the channels' mean and standard deviation over
the other 45,000.

Read from the folder `ZOO_DATA` (`cifar-10-binary.tar.gz`, or `cifar10.zip` with `train/<class>/*.jpg` and
`test/<class>/*.jpg`), from the cache, or from Toronto. The archive is read in place, never unpacked, and the binary
version only: the Python version is a pickle. The JPEG copy is a little harder than the original and says so.
"""

import tarfile
import zipfile
import zlib

from zoo.cache import Remote, locate, remember_arrays
from zoo.data.catalog import dataset
from zoo.errors import DataError, worded
from zoo.files import sha256_of

REMOTE = Remote(
    file="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,  # its page publishes the MD5 of the same file, c32a1d4ab5d03f1284b67883e8d87530
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CITATION = (
    "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009, "
    "https://www.cs.toronto.edu/~kriz/cifar.html. No licence is stated."
)
RECORD = 1 + 3 * 32 * 32  # one label, then the red, green and blue planes
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


@dataset("cifar10", task="image_classification")
def cifar10(validation: int = 5000):
    """60,000 colour photographs of 32 x 32 pixels in ten classes.

    Args:
        validation: how many training images are held out. Fewer leave more to train on, once everything is chosen; the
            standardisation stays that of the usual 45,000.

    Raises:
        DataError: that much cannot be held out.
    """
    import numpy as np

    from zoo.data.base import ArraySplit, Dataset, held_out
    from zoo.data.preprocessing import image_declaration

    path = locate(("cifar-10-binary.tar.gz", "cifar10.zip"), REMOTE, "CIFAR-10")
    as_jpeg = path.suffix == ".zip"
    read = _read_jpegs if as_jpeg else _read_binary

    def make():
        try:
            x, y = read(path)
        except (OSError, EOFError, KeyError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            works = "Delete it to get it anew."
            raise DataError(worded(f"{path} is not a whole CIFAR-10 archive ({error})", works=works)) from error
        train, _ = held_out(y[:50000], 5000)
        mean, std = _moments(x, train)
        return {"x": x, "y": y, "mean": mean, "std": std}

    found = remember_arrays(f"cifar10 1 {sha256_of(path)}", make)
    declared = image_declaration((32, 32, 3), mean=found["mean"], std=found["std"])
    everything = ArraySplit(found["x"], found["y"], declared)
    train, held = held_out(found["y"][:50000], validation)
    copy = (
        "CIFAR-10 (JPEG copy): the original pixels recompressed as JPEG, a little harder. " if as_jpeg else "CIFAR-10. "
    )
    return Dataset(
        name="cifar10_jpeg" if as_jpeg else "cifar10",
        task="image_classification",
        labels=CLASSES,
        preprocessing=declared,
        train=everything.subset(train),
        validation=everything.subset(held),
        test=everything.subset(np.arange(50000, 60000)),
        source=copy + CITATION,
    )


def _read_binary(path):
    """Returns uint8 images (60000, 32, 32, 3) and labels, training part first."""
    import numpy as np

    parts = {}
    with tarfile.open(path, "r|gz") as archive:  # one pass: seeking back would decompress again
        for member in archive:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name in BATCHES:
                if member.size != 10000 * RECORD:
                    raise DataError(
                        worded(f"{path}: {member.name} has {member.size:,} bytes", works="It is cut short.")
                    )
                parts[name] = np.frombuffer(archive.extractfile(member).read(), np.uint8).reshape(10000, RECORD)
    missing = [name for name in BATCHES if name not in parts]
    if missing:
        raise DataError(worded(f"{path} lacks {missing[0]}", works="Delete it to get it anew."))
    records = np.concatenate([parts[name] for name in BATCHES])
    x = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return x, _labels(path, records[:, 0])


def _read_jpegs(path):
    """Returns uint8 images (60000, 32, 32, 3) and labels, training part first, each part sorted by file name."""
    import numpy as np

    from zoo.data.preprocessing import decode_image, image_declaration

    declared = image_declaration((32, 32, 3))
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith(".jpg")]
        rows = sorted((*tuple(n.split("/")[-3:]), n) for n in names)
        rows = [r for part in ("train", "test") for r in rows if r[0] == part]
        strange = next((r[3] for r in rows if len(r) != 4 or r[1] not in CLASSES), None)
        if len(rows) != 60000 or strange:
            works = "It must hold train/<class>/*.jpg and test/<class>/*.jpg, 50,000 and 10,000 of them."
            raise DataError(
                worded(f"{path} is not the JPEG copy of CIFAR-10", received=strange or len(rows), works=works)
            )
        x = np.empty((60000, 32, 32, 3), np.uint8)
        for i, row in enumerate(rows):
            x[i] = decode_image(archive.read(row[3]), declared, row[3])
    return x, _labels(path, np.array([CLASSES.index(row[1]) for row in rows], np.uint8))


def _labels(path, y):
    import numpy as np

    counts = [np.bincount(part, minlength=10).tolist() for part in (y[:50000], y[50000:])]
    if counts != [[5000] * 10, [1000] * 10]:
        works = "CIFAR-10 has 5,000 training and 1,000 test images a class."
        raise DataError(worded(f"{path} is not CIFAR-10", received=counts, works=works))
    return y


def _moments(x, rows):
    """Returns mean and standard deviation of each channel, of pixels / 255, to four decimals.

    Computed from whole-number histograms, so they are the same on every machine.
    """
    import numpy as np

    histogram = np.zeros((3, 256), np.int64)
    for start in range(0, len(rows), 5000):
        part = x[rows[start : start + 5000]]
        for channel in range(3):
            histogram[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    level = np.arange(256) / 255
    mean = histogram @ level / histogram.sum(axis=1)
    std = np.sqrt(histogram @ level**2 / histogram.sum(axis=1) - mean**2)
    return mean.round(4), std.round(4)

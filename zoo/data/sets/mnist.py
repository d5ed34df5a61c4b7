"""MNIST: 70,000 handwritten digits of 28 x 28 grey pixels.

The test part is the official one; 5,000 of the 60,000 training images, stratified by digit, are held out for
validation, or as many as `validation` says. Read from `mnist.npz` in the folder `ZOO_DATA`, from the cache, or from
Keras's own copy.
"""

from zoo.cache import Remote, locate
from zoo.data.catalog import dataset
from zoo.errors import DataError, worded

REMOTE = Remote(
    file="mnist.npz",
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    size=11_490_434,
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
SOURCE = (
    "MNIST. Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, "
    "1998, http://yann.lecun.com/exdb/mnist/. CC BY-SA 3.0."
)
SHAPES = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}


@dataset("mnist", task="image_classification")
def mnist(validation: int = 5000):
    """70,000 handwritten digits of 28 x 28 grey pixels.

    Args:
        validation: how many training images are held out. Fewer leave more to train on, once everything is chosen.

    Raises:
        DataError: that much cannot be held out.
    """
    from zoo.data.base import ArraySplit, Dataset, held_out
    from zoo.data.files import read_npz
    from zoo.data.preprocessing import image_declaration

    path = locate(("mnist.npz",), REMOTE, "MNIST")
    found = read_npz(path)
    for key, shape in SHAPES.items():
        if key not in found or found[key].shape != shape or found[key].dtype != "uint8":
            shown = f"{found[key].dtype} {found[key].shape}" if key in found else sorted(found)
            works = f"{key} must be uint8 {shape}; delete the file to get it anew."
            raise DataError(worded(f"{path} is not MNIST", received=shown, works=works))
    declared = image_declaration((28, 28, 1))
    training = ArraySplit(found["x_train"][..., None], found["y_train"], declared)
    train, held = held_out(found["y_train"], validation)
    return Dataset(
        name="mnist",
        task="image_classification",
        labels=tuple("0123456789"),
        preprocessing=declared,
        train=training.subset(train),
        validation=training.subset(held),
        test=ArraySplit(found["x_test"][..., None], found["y_test"], declared),
        source=SOURCE,
    )

"""Optical digits of scikit-learn: 1,797 real handwritten digits of 8 x 8 pixels with 17 grey levels, always at hand.

Both data sets share one split, stratified by digit, so a model fine-tuned from one to the other meets no test image
in training. 359 images (20%) are the test part, 180 (10%) the validation part.
"""

from zoo.data.catalog import dataset

SOURCE = (
    "Optical Recognition of Handwritten Digits, test part, as shipped with scikit-learn. "
    "E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49. CC BY 4.0."
)


@dataset("digits", task="image_classification")
def digits():
    """1,797 handwritten digits of 8 x 8 grey pixels, offline."""
    return _load("digits", labels=tuple("0123456789"), relabel=lambda digit: digit)


@dataset("digits_parity", task="image_classification")
def digits_parity():
    """The same 1,797 digits and split, labelled even or odd."""
    return _load("digits_parity", labels=("even", "odd"), relabel=lambda digit: digit % 2)


def _load(name, labels, relabel):
    import numpy as np
    from sklearn.datasets import load_digits

    from zoo.data.base import ArraySplit, Dataset, held_out
    from zoo.data.preprocessing import image_declaration

    found = load_digits()
    images, digit = found.images.astype(np.uint8)[..., np.newaxis], found.target  # whole numbers 0 to 16
    declared = image_declaration((8, 8, 1), maximum=16.0)
    everything = ArraySplit(images, relabel(digit), declared)
    rest, test = held_out(digit, 359)
    train, validation = held_out(digit[rest], 180)
    return Dataset(
        name=name,
        task="image_classification",
        labels=labels,
        preprocessing=declared,
        train=everything.subset(rest[train]),
        validation=everything.subset(rest[validation]),
        test=everything.subset(test),
        source=SOURCE,
    )

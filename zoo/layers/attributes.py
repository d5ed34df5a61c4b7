"""Three heads that tell of a person: age, income group and gender."""

from zoo.layers.ends import logits_layer, positive

# The book's weights: they bring a squared error of 3 to 5 (age, there) and a cross-entropy of 0.1 (gender) to
# one size. Ages are standardised here, so their squared error is about 1 at most.
HEADS = {
    "age": {"kind": "regression", "weight": 0.25},
    "income": {"kind": "softmax", "weight": 1.0},
    "gender": {"kind": "sigmoid", "weight": 10.0},
}


def attribute_heads(x, num_groups):
    """Returns the outputs "age" (B, 1), "income" (B, num_groups) and "gender" (B, 1) of features (B, F).

    Age is a plain number, standardised by the data set; the others are logits. Under mixed precision all three
    compute in full precision.

    Raises:
        InvalidArgument: `num_groups` is not a positive whole number.
    """
    positive(num_groups=num_groups)
    widths = {"age": 1, "income": num_groups, "gender": 1}
    return {name: logits_layer(width, name=name)(x) for name, width in widths.items()}

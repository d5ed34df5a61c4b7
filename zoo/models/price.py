"""Price of something second-hand from three sides: what its form says, what its seller wrote, what its picture shows.

Paper: Chollet, 2017, https://www.manning.com/books/deep-learning-with-python, section 7.1
Shapes: metadata (B, M) float32, one-hot; description (B, T) int32, 0 is padding at the end of the row; picture
    (B, H, W, C) float32 -> price (B, 1), standardised
Departures: the book draws this model without a listing, a dense trunk, a recurrent one and a convnet; the widths are
    ours, and `price` averages word vectors, `price_lstm` reads them one by one as the book has it.
"""

import keras
from keras import layers, ops

from zoo.layers.ends import choice, counted, image_input, logits_layer, positive, rate, token_input
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {"price": {}, "price_lstm": {"text": "lstm"}}


def read(tokens, vocab_size, embed_dim, text):
    """Returns features (B, E) of a description (B, T); padding does not count."""
    words = ops.not_equal(tokens, 0)
    x = layers.Embedding(vocab_size, embed_dim, name="embedding")(tokens)  # (B, T, E)
    if text == "lstm":
        return layers.LSTM(embed_dim, name="lstm")(x, mask=words)
    return layers.GlobalAveragePooling1D(name="words")(x, mask=counted(words))


def seen(x, filters, norm, activation):
    """Returns features (B, C) of a picture (B, H, W, 3); each block halves height and width."""
    for i, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 3, padding="same", use_bias=norm is None, name=f"block{i}_conv")(x)
        x = activated(norm_layer(x, norm, name=f"block{i}_norm"), activation, name=f"block{i}_{activation}")
        x = layers.MaxPooling2D(2, padding="same", name=f"block{i}_pool")(x)
    return layers.Flatten(name="seen")(x)


@register("price", task="price_estimation", variants=VARIANTS, heads={"price": {"kind": "regression"}})
def price(
    *,
    metadata_size: int = 20,
    vocab_size: int = 1000,
    sequence_length: int = 32,
    image_shape: tuple = (32, 32, 3),
    embed_dim: int = 32,
    text: str = "mean",
    filters: tuple = (16, 32, 32),
    units: int = 64,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.0,
):
    """Builds the three trunks and the regression that joins them.

    Args:
        metadata_size: width of the encoded metadata, M.
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a description, T.
        image_shape: (height, width, channels) of the picture.
        embed_dim: width of a word's vector and of the description's features.
        text: how the description is read, "mean" of its words' vectors or "lstm".
        filters: of the picture's convolutions; the picture halves after each.
        units: of the metadata's trunk, of the picture's features and of the layer that joins all.
        norm: after each convolution, "batch", "group", "layer" or None.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout of the joined features.

    Returns:
        `keras.Model`, {"metadata": (B, M), "description": (B, T), "picture": (B, H, W, C)} -> price (B, 1).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or a name is unknown.
    """
    positive(metadata_size=metadata_size, vocab_size=vocab_size, embed_dim=embed_dim, units=units)
    positive(**{f"filters[{i}]": n for i, n in enumerate(filters)})
    rate(drop_rate=drop_rate)
    choice(("mean", "lstm"), text=text)
    metadata = keras.Input((metadata_size,), name="metadata")
    description = token_input(sequence_length, name="description")
    picture = image_input(image_shape, name="picture")
    said = activated(layers.Dense(units, name="said")(metadata), activation, name=f"said_{activation}")
    written = read(description, vocab_size, embed_dim, text)
    shown = layers.Dense(units, name="shown")(seen(picture, filters, norm, activation))
    shown = activated(shown, activation, name=f"shown_{activation}")
    x = layers.Concatenate(name="joined")([said, written, shown])
    x = activated(layers.Dense(units, name="features")(x), activation, name=f"features_{activation}")
    x = layers.Dropout(drop_rate, name="drop")(x)
    price = logits_layer(1, name="price")(x)
    return keras.Model({"metadata": metadata, "description": description, "picture": picture}, price, name="price")

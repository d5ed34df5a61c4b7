"""Text classifier on long short-term memory.

Paper: Hochreiter and Schmidhuber, 1997, https://doi.org/10.1162/neco.1997.9.8.1735, section 4
Shapes: tokens (B, T), int32, 0 is padding at the end of the row -> logits (B, num_classes)
Departures: the cell has a forget gate (Gers et al., 2000), its bias starting at 1 (Jozefowicz et al., 2015), and
    the classifier averages the outputs over the words (`pool="last"` takes the final state), which trains
    more reliably on long texts.
"""

from keras import layers

from zoo.layers.recurrent import recurrent_classifier
from zoo.registry import register

VARIANTS = {"lstm": {}}


@register("lstm", task="text_classification", variants=VARIANTS)
def lstm(
    *,
    vocab_size: int = 20000,
    sequence_length: int = 256,
    embed_dim: int = 128,
    units: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    pool: str = "mean",
    drop_rate: float = 0.5,
    num_classes: int = 1,
):
    """Builds an LSTM text classifier; `zoo.layers.recurrent.recurrent_classifier` describes the arguments."""
    return recurrent_classifier(
        layers.LSTM,
        name="lstm",
        vocab_size=vocab_size,
        sequence_length=sequence_length,
        embed_dim=embed_dim,
        units=units,
        num_layers=num_layers,
        bidirectional=bidirectional,
        pool=pool,
        drop_rate=drop_rate,
        num_classes=num_classes,
    )

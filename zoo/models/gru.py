"""Text classifier on gated recurrent units.

Paper: Cho et al., 2014, https://arxiv.org/abs/1406.1078, section 2.3
Shapes: tokens (B, T), int32, 0 is padding at the end of the row -> logits (B, num_classes)
Departures: the reset gate acts after the recurrent product, as cuDNN computes it, and the classifier averages the
    outputs over the words (`pool="last"` takes the final state), which trains more reliably on long texts.
"""

from keras import layers

from zoo.layers.recurrent import recurrent_classifier
from zoo.registry import register

VARIANTS = {"gru": {}}


@register("gru", task="text_classification", variants=VARIANTS)
def gru(
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
    """Builds a GRU text classifier; `zoo.layers.recurrent.recurrent_classifier` describes the arguments."""
    return recurrent_classifier(
        layers.GRU,
        name="gru",
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

"""Word language model on gated recurrent units, with state that carries from batch to batch.

Paper: Cho et al., 2014, https://arxiv.org/abs/1406.1078, section 2.3
Shapes: tokens (B, T), int32, T consecutive words -> logits (B, T, vocab_size) of the word after each
Departures: sizes, dropout and initial values are those of Zaremba et al., 2014, https://arxiv.org/abs/1409.2329, with
    this cell in the place of the LSTM; the reset gate acts after the recurrent product, as in cuDNN.
"""

from keras import layers

from zoo.layers.language import language_model
from zoo.registry import register

VARIANTS = {
    "gru_lm_small": {"embed_dim": 200, "units": 200, "sequence_length": 20, "drop_rate": 0.0, "initial_range": 0.1},
    "gru_lm_medium": {"embed_dim": 650, "units": 650, "sequence_length": 35, "drop_rate": 0.5, "initial_range": 0.05},
    "gru_lm_large": {"embed_dim": 1500, "units": 1500, "sequence_length": 35, "drop_rate": 0.65, "initial_range": 0.04},
}


@register("gru_lm", task="text_generation", variants=VARIANTS)
def gru_lm(
    *,
    vocab_size: int = 10000,
    sequence_length: int,
    embed_dim: int,
    units: int,
    num_layers: int = 2,
    drop_rate: float,
    initial_range: float,
    tie_weights: bool = False,
    batch_size: int | None = None,
):
    """Builds a GRU language model; `zoo.layers.language.language_model` describes the arguments."""
    return language_model(
        layers.GRU,
        name="gru_lm",
        vocab_size=vocab_size,
        sequence_length=sequence_length,
        embed_dim=embed_dim,
        units=units,
        num_layers=num_layers,
        drop_rate=drop_rate,
        initial_range=initial_range,
        tie_weights=tie_weights,
        batch_size=batch_size,
    )

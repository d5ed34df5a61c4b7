"""Word language model on long short-term memory, with state that carries from batch to batch.

Paper: Zaremba et al., 2014, https://arxiv.org/abs/1409.2329, sections 3 and 4.1
Shapes: tokens (B, T), int32, T consecutive words -> logits (B, T, vocab_size) of the word after each
Departures: one bias for each gate instead of one for the input and one for the state, whose sum is all that counts.
"""

from keras import layers

from zoo.layers.language import language_model
from zoo.registry import register

VARIANTS = {
    "lstm_lm_small": {"embed_dim": 200, "units": 200, "sequence_length": 20, "drop_rate": 0.0, "initial_range": 0.1},
    "lstm_lm_medium": {"embed_dim": 650, "units": 650, "sequence_length": 35, "drop_rate": 0.5, "initial_range": 0.05},
    "lstm_lm_large": {
        "embed_dim": 1500,
        "units": 1500,
        "sequence_length": 35,
        "drop_rate": 0.65,
        "initial_range": 0.04,
    },
}


@register("lstm_lm", task="text_generation", variants=VARIANTS)
def lstm_lm(
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
    """Builds an LSTM language model; `zoo.layers.language.language_model` describes the arguments."""
    return language_model(
        layers.LSTM,
        name="lstm_lm",
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

"""Normalisations and activations by name, so that a model can take either as an argument.

Paper: Wu and He, 2018, https://arxiv.org/abs/1803.08494, section 3 (group normalisation)
"""

from keras import layers

from zoo.layers.ends import choice
from zoo.layers.kernels import fused_batch_norm

NORMS = ("batch", "group", "layer", None)
ACTIVATIONS = ("relu", "gelu", "silu")
MAX_GROUPS = 32  # the paper's default


def norm_groups(channels):
    """Returns the groups of a group normalisation: the largest divisor of `channels` up to 32 and up to half of them.

    Groups of single channels are left out, because a channel by itself in a single pixel would always become zero.
    """
    return max(n for n in range(1, MAX_GROUPS + 1) if channels % n == 0 and n <= max(1, channels // 2))


def norm_layer(x, norm, *, name, epsilon=1e-3, momentum=0.99):
    """Normalises features whose last axis are channels.

    Args:
        x: features (B, ..., C).
        norm: "batch"; "group", over the positions and the channels of each group of `norm_groups(C)`; "layer", over
            the channels of one position; None returns `x` itself.
        name: of the layer.
        epsilon: added to the variance.
        momentum: of batch normalisation's moving averages.

    Returns:
        Features of the same shape.

    Raises:
        InvalidArgument: `norm` is none of these.
    """
    choice(NORMS, norm=norm)
    if norm == "batch":
        layer = layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=name)
        return fused_batch_norm(layer)(x)
    if norm == "group":
        return layers.GroupNormalization(norm_groups(x.shape[-1]), epsilon=epsilon, name=name)(x)
    if norm == "layer":
        return layers.LayerNormalization(epsilon=epsilon, name=name)(x)
    return x


def activated(x, activation, *, name):
    """Applies "relu", "gelu" (the exact one, by the error function) or "silu" as a layer of this name.

    Raises:
        InvalidArgument: `activation` is none of these.
    """
    choice(ACTIVATIONS, activation=activation)
    return layers.ReLU(name=name)(x) if activation == "relu" else layers.Activation(activation, name=name)(x)

"""Depthwise separable convolutions: each channel is convolved by itself, then 1 x 1 convolutions mix the channels.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, section 2
"""

from keras import initializers, layers

from zoo.layers.kernels import matmul_separable_conv


def depthwise_initializer():
    """Returns the initializer of depthwise kernels: output pixels vary as much as input pixels do.

    An output sees the k x k weights of one channel, which "fan_out" counts; Keras's default counts the weights of all
    channels and starts hundreds of channels at almost zero.
    """
    return initializers.VarianceScaling(1.0, "fan_out", "uniform")


def separable_conv(x, filters, kernel_size, stride=1, *, padding="same", use_bias=False, name):
    """Applies a `keras.layers.SeparableConv2D`, started as its halves need.

    Args:
        x: features (B, H, W, C).
        filters: channels of the result.
        kernel_size: of the depthwise convolution.
        stride: of the depthwise convolution.
        padding: "same" or "valid".
        use_bias: whether the pointwise convolution adds a bias.
        name: of the layer.

    Returns:
        Features (B, H / stride, W / stride, filters) for padding "same".
    """
    layer = layers.SeparableConv2D(
        filters,
        kernel_size,
        stride,
        padding,
        use_bias=use_bias,
        depthwise_initializer=depthwise_initializer(),
        pointwise_initializer="he_uniform",
        name=name,
    )
    return matmul_separable_conv(layer)(x)

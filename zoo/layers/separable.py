"""Depthwise separable convolutions: each channel is convolved by itself, then 1 x 1 convolutions mix the channels.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, section 2
"""

from keras import initializers, layers


def depthwise_initializer():
    """Returns the initializer of depthwise kernels: output pixels vary as much as input pixels do.

    An output sees the k x k weights of one channel, which "fan_out" counts; Keras's default counts the weights of all
    channels and starts hundreds of channels at almost zero.
    """
    return initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal")


def separable_conv(x, filters, kernel_size, stride=1, *, padding="same", use_bias=False, name):
    """Applies a depthwise and a pointwise convolution, layers `{name}_depthwise` and `{name}_pointwise`.

    Two layers compute what `keras.layers.SeparableConv2D` does in one; their kernels are named and shaped as in other
    libraries' networks.

    Args:
        x: features (B, H, W, C).
        filters: channels of the result.
        kernel_size: of the depthwise convolution.
        stride: of the depthwise convolution.
        padding: "same" or "valid".
        use_bias: whether the pointwise convolution adds a bias.
        name: prefix of the layers' names.

    Returns:
        Features (B, H / stride, W / stride, filters) for padding "same".
    """
    x = layers.DepthwiseConv2D(
        kernel_size,
        stride,
        padding,
        use_bias=False,
        depthwise_initializer=depthwise_initializer(),
        name=f"{name}_depthwise",
    )(x)
    return layers.Conv2D(filters, 1, use_bias=use_bias, kernel_initializer="he_normal", name=f"{name}_pointwise")(x)

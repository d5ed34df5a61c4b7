"""Stock layers that train faster on TensorFlow: what they compute, hold and save stays Keras's.

Keras writes batch normalisation out in single operations, which TensorFlow on a CPU runs one after another, and a
separable convolution's 1 x 1 part as a convolution, whose gradients there cost more than those of the same matrix
product. Each function below gives one layer object another `call`. The layer's class, weights and configuration
stay as they are, so a saved model loads without zoo, as the plain layer. Other backends are left alone.
"""

import keras
from keras import ops


def fused_batch_norm(layer):
    """Lets a `keras.layers.BatchNormalization` train with TensorFlow's fused operation: a third of the time.

    Applies to float32 images (B, H, W, C); for all else the layer computes as before.

    Returns:
        The layer.
    """
    if keras.backend.backend() != "tensorflow":
        return layer
    import tensorflow as tf

    stock = layer.call

    def call(inputs, training=None, mask=None):
        as_images = len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.dtype == "float32" and mask is None
        if not (training and layer.trainable and as_images) or layer.synchronized or layer.renorm:
            return stock(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=layer.gamma, offset=layer.beta, mean=[], variance=[], epsilon=layer.epsilon
        )
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
        variance *= (count - 1) / count  # the operation tells the unbiased one; Keras remembers the other
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
        return outputs

    layer.call = call
    return layer


def matmul_separable_conv(layer):
    """Lets a `keras.layers.SeparableConv2D` mix the channels by a matrix product on TensorFlow.

    Returns:
        The layer.
    """
    if keras.backend.backend() != "tensorflow" or layer.data_format != "channels_last":
        return layer

    def call(inputs):
        x = ops.depthwise_conv(
            inputs, layer.depthwise_kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        )
        kernel = ops.reshape(layer.pointwise_kernel, (x.shape[-1], layer.filters))
        mixed = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), kernel)
        mixed = ops.reshape(mixed, (-1, *x.shape[1:3], layer.filters))
        if layer.use_bias:
            mixed = mixed + layer.bias
        return layer.activation(mixed)

    layer.call = call
    return layer

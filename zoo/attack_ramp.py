"""A ramp of an attack's radius over the first epochs of a training, where a network would else stay at chance."""

import keras


class Ramp(keras.layers.Layer):
    """Holds the share of the radius that an attack has in this epoch, where every backend sees it change.

    Args:
        epochs: before the whole radius; epoch e of them, counted from 1, has e / (epochs + 1) of it.
    """

    def __init__(self, epochs):
        super().__init__(name="attack_ramp", dtype="float32")
        self.epochs = epochs
        # The whole outside a `fit`, which alone knows epochs.
        self.share = self.add_weight(shape=(), initializer="ones", trainable=False, name="share")
        self.built = True

    def begin(self, epoch):
        """Sets the share at the start of an epoch, counted from 0."""
        self.share.assign(min(1.0, (epoch + 1) / (self.epochs + 1)))

    def too_long(self, batch_size, steps_per_epoch, epochs):
        """Returns a sentence where a fit ends before the whole radius is reached."""
        if epochs > self.epochs:
            return []
        return [f"the attack's ramp={self.epochs} leaves no epoch at its whole epsilon: this fit has epochs={epochs}"]


class Climb(keras.callbacks.Callback):
    """Moves a `Ramp` on with the epochs of a fit."""

    def __init__(self, ramp):
        super().__init__()
        self.ramp = ramp

    def on_epoch_begin(self, epoch, logs=None):
        self.ramp.begin(epoch)

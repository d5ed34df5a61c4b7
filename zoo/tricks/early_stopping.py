"""Training that stops when validation no longer improves, and keeps its best weights.

Paper: Prechelt, 1998, https://doi.org/10.1007/3-540-49430-8_3, section 2
Use when: the number of epochs is a generous guess and later ones only overfit.
Start with: patience=5, of epochs; more where validation is small and noisy.
Formula: stop after epoch e when no epoch of e - patience + 1 ... e has a metric better than the best by min_delta
Composes with: everything else; a schedule that falls over the whole fit is cut off where training stops, and epochs
    of an attack's ramp are not looked at.
Conflicts with: lr_finder, whose test it would end.
"""

from dataclasses import dataclass

import keras
import numpy as np

from zoo.averages import averaged_weights
from zoo.errors import invalid, unknown
from zoo.registry import trick

_HIGHER = ("accuracy", "auc", "recall", "precision", "f1")  # last words of metrics of which more is better


class StopEarly(keras.callbacks.Callback):
    """Ends `fit` after `patience` epochs in a row without improvement, and leaves the weights of the best epoch.

    Where a run folder is kept, the run keeps the best weights and this only stops.

    Args:
        metric: name in the logs, such as "val_loss"; less is better but for accuracies and their like.
        patience: epochs.
        min_delta: by how much a value must be better to count.
        unripe: first epochs that are not looked at, as the recipe asks for less in them.

    Attributes:
        validates: whether the fit has validation data, which `ZooModel.fit` says.
        finished: whether it stopped, or, restored from a history, would have.
        reason: why, a sentence, or None.
    """

    folder, say = None, None  # set by `zoo.train`

    def __init__(self, metric="val_loss", patience=5, min_delta=0.0, unripe=0):
        super().__init__()
        self.metric, self.patience, self.min_delta, self.unripe = metric, patience, min_delta, unripe
        self.sign = -1.0 if metric.rpartition("_")[2] in _HIGHER else 1.0
        self.best, self.best_epoch, self.waited = None, None, 0
        self.validates = False
        self.finished, self.reason, self._weights = False, None, None

    def restore(self, history):
        """Takes up where a stopped run was: rows of its epochs, with `epoch` counted from 1."""
        for row in history:
            self._look(row["epoch"], row)

    def on_epoch_end(self, epoch, logs=None):
        improved = self._look(epoch + 1, logs or {})
        if improved and self.folder is None:
            with averaged_weights(self.model):
                self._weights = [np.array(w) for w in self.model.get_weights()]
        if self.finished:
            self.model.stop_training = True
            if self.say is not None:
                self.say(self.reason)
            elif self.params.get("verbose"):
                print(self.reason)

    def on_train_end(self, logs=None):
        if self._weights is not None:
            self.model.set_weights(self._weights)

    def _look(self, epoch, row):
        """Returns whether an epoch is the best so far."""
        if self.metric not in row:
            unseen = self.metric[:4] == "val_" and not any(name[:4] == "val_" for name in row)
            if unseen and (self.validates or self.best is not None):
                return False  # `validation_freq` leaves this epoch out
            works = "Give `fit` validation_data, or watch the training: early_stopping(metric='loss')."
            raise unknown("metric of this fit", self.metric, row, works=works if unseen else None)
        if epoch <= self.unripe:
            return False
        value = float(row[self.metric])
        if self.best is None or self.sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        if self.waited >= self.patience:
            self.finished = True
            better = "above" if self.sign < 0 else "below"
            by = f" by more than {self.min_delta:g}" if self.min_delta else ""
            self.reason = (
                f"early_stopping: stopped after epoch {epoch}, as {self.metric} was {self.best:.4g} in epoch "
                f"{self.best_epoch} and never {better} it{by} since"
            )
        return False


@trick("early_stopping", stage="after")
@dataclass(frozen=True)
class EarlyStopping:
    """See the card above.

    `patience`: epochs without improvement after which training stops, of those that have the metric; `metric`: what is
    watched, a name in the history; `min_delta`: by how much it must be better, 0 or more.
    """

    patience: int = 5
    metric: str = "val_loss"
    min_delta: float = 0.0
    clashes = {
        "one_cycle": "training that stops early misses the last, low rates of the cycle, where most of the accuracy "
        "comes (Smith, 2018, section 4.1)",
        "snapshot": "each restart makes the model worse for a while by design, which early stopping takes for the end "
        "(Huang et al., 2017, section 3)",
    }

    def __post_init__(self):
        if self.patience < 1:
            raise invalid("early_stopping: `patience` must be at least 1", self.patience)
        if self.min_delta < 0:
            raise invalid("early_stopping: `min_delta` must be 0 or more", self.min_delta)

    def apply(self, plan):
        unripe = plan.unripe

        def complaints(batch_size, steps_per_epoch, epochs):
            """Returns what can never stop a fit of so many epochs."""
            if unripe + self.patience < epochs:
                return []
            begins = f", before whose epoch {unripe + 1} it does not look" if unripe else ""
            return [f"early_stopping(patience={self.patience}) cannot stop this fit, epochs={epochs}{begins}"]

        plan = plan.adding("callbacks", lambda: StopEarly(self.metric, self.patience, self.min_delta, unripe))
        return plan.adding("at_fit", complaints)

    def explain(self, plan):
        delta = f" by more than {self.min_delta:g}" if self.min_delta else ""
        begins = f", from epoch {plan.unripe + 1} on," if plan.unripe else ""
        return (
            f"training stops when {self.metric} has{begins} not improved{delta} for {self.patience} epochs, and the "
            f"weights of the best epoch are kept"
        )

"""Learning-rate range test: the rate rises until the loss diverges, and a good one is read off.

Paper: Smith, 2015, https://arxiv.org/abs/1506.01186, section 3.3
Use when: a model, an optimizer or a batch size is new. `zoo find-lr` and `zoo.find_learning_rate` run it and leave the
    model's weights as they were; this trick does the same in a `fit` of one's own.
Start with: one epoch, or some hundred steps.
Formula: rate(step) = low (high / low)^(step / (T - 1)), with T steps; suggested is the rate at which the loss falls
    fastest over log(rate), and beside it a tenth of the rate at which it is lowest
Composes with: every optimizer, loss and augmentation.
Conflicts with: cosine, cyclic, one_cycle, step, polynomial, snapshot, which replace the same decay; ema and swa, which
    would write their averages over the weights that it puts back; early_stopping, which would end the test.
Departures: the optimizer's own rate plays no part. The test ends when the smoothed loss is four times its lowest, and
    the weights from before the fit are put back.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from zoo.averages import put_back, values_of
from zoo.errors import Conflict, invalid
from zoo.rate_finding import FEWEST, PICTURE, RateSearch, draw_rates, found_rates
from zoo.registry import trick
from zoo.schedules import BoundSchedule
from zoo.weights import load_state, save_state

KEPT = "lr_finder.safetensors"  # in a run's folder until the test has ended
_UNDOING = {  # tricks that act after the weights were put back, or before the test is over
    "ema": "ema would write its average over the weights that lr_finder puts back",
    "swa": "swa would write its average over the weights that lr_finder puts back",
    "early_stopping": "early_stopping would end its test, or leave the weights of one of its epochs",
}


@keras.saving.register_keras_serializable("zoo")
class ExponentialRise(BoundSchedule):
    """Rises from `low` at the first step to `high` at the last by the same factor at each step."""

    def __init__(self, low=1e-7, high=10.0):
        super().__init__()
        self.low = low
        self.high = high

    def rate(self, step, total, steps_per_epoch):
        through = ops.clip(step / ops.maximum(total - 1.0, 1.0), 0.0, 1.0)
        return self.low * ops.exp(through * float(np.log(self.high / self.low)))

    def get_config(self):
        return {"low": self.low, "high": self.high}


class RecordLosses(keras.callbacks.Callback):
    """Records the loss of each step beside its rate, ends `fit` when it diverges, and puts the weights back.

    Afterwards `found` is a `zoo.rate_finding.RatesFound`, which is in `model.rates_found` too. In a run, a file keeps
    losses and first weights until then, for a resumed `fit` to go on with.

    Attributes:
        finished: whether a stopped run had ended its test already.
    """

    folder, say = None, None  # set by `zoo.train`

    def __init__(self):
        super().__init__()
        self.found, self.finished, self._kept = None, False, {}

    def restore(self, history):
        """Reads what a stopped run has recorded; there is nothing to read once its test has ended."""
        self.finished = not (self.folder / KEPT).is_file()
        if not self.finished:
            self._kept, _ = load_state(self.folder / KEPT)

    def on_train_begin(self, logs=None):
        steps = self.params["epochs"] * (self.params["steps"] or FEWEST)  # the schedule refuses what is not known
        if steps < FEWEST:
            works = "Fit more epochs, or in smaller batches."
            raise invalid(f"lr_finder needs at least {FEWEST} steps, one for each rate", steps, works)
        self._search = RateSearch()
        self._before = values_of([*self.model.variables, *self.model.optimizer.variables])
        if self._kept:
            named = ((v, f"{i:05d}") for i, (v, _) in enumerate(self._before))
            self._before = [(v, self._kept[name]) for v, name in named if name in self._kept]  # slots came later

    def on_epoch_begin(self, epoch, logs=None):
        epochs, steps = self.params["epochs"], self.params["steps"]
        self._done, self._last = epoch * steps, epoch + 1 == epochs
        self._seen, self._mean = 0, 0.0
        if self._kept:
            for pair in zip(self._kept["rates"][: self._done], self._kept["losses"][: self._done], strict=True):
                self._search.add(*map(float, pair))
            self._kept = {}
        start = int(ops.convert_to_numpy(self.model.schedule.horizon)[0])
        rates = self.model.schedule(ops.arange(start, start + epochs * steps, dtype="int32"))
        self._rates = np.asarray(ops.convert_to_numpy(rates), np.float64)

    def on_train_batch_end(self, batch, logs=None):
        # Keras shows the mean over the epoch so far: the loss of this step is what moved it.
        seen, mean = batch + 1, float(logs["loss"])
        loss = (seen * mean - self._seen * self._mean) / (seen - self._seen)
        self._seen, self._mean = seen, mean
        if self._search.add(self._rates[self._done + batch], loss):
            self.model.stop_training = True
        if self.folder is not None and seen == self.params["steps"]:
            recorded = {"rates": np.array(self._search.rates), "losses": np.array(self._search.losses)}
            save_state(self.folder / KEPT, {f"{i:05d}": v for i, (_, v) in enumerate(self._before)} | recorded)

    def on_test_begin(self, logs=None):
        self._put_back()

    def on_epoch_end(self, epoch, logs=None):
        self._put_back()  # what ends at such a rate is not worth keeping

    def on_train_end(self, logs=None):
        self.model.__dict__["rates_found"] = self.found = found_rates(self._search)
        if self.folder is not None:
            draw_rates(self.found, self.folder / PICTURE, title=f"{self.model.name}, {self.model.recipe}")
            (self.folder / KEPT).unlink(missing_ok=True)
            self.say(str(self.found))
        elif self.params.get("verbose"):
            print(self.found)

    def _put_back(self):
        if self._last or self.model.stop_training:
            put_back(self._before)


@trick("lr_finder", stage="schedule")
@dataclass(frozen=True)
class LrFinder:
    """See the card above. `low`, `high`: first and last learning rate, positive."""

    low: float = 1e-7
    high: float = 10.0

    def __post_init__(self):
        if not 0 < self.low < self.high:
            raise invalid("lr_finder: `low` must be above 0 and below `high`", (self.low, self.high))

    def apply(self, plan):
        for other, reason in _UNDOING.items():
            if other in plan.tricks:
                raise Conflict(
                    f"lr_finder and {other} do not go together: {reason}. "
                    f"Keep one of them: write `-{other}` or `-lr_finder`, or leave one out."
                )
        plan = plan.but(decay=lambda peak: ExponentialRise(self.low, self.high))
        return plan.adding("callbacks", RecordLosses)

    def explain(self, plan):
        powers = np.log10(self.high / self.low)
        return (
            f"the learning rate rises from {self.low:g} to {self.high:g}, {powers:.3g} powers of ten, over the fit or "
            f"until the loss diverges; a rate is suggested, and the weights are put back"
        )

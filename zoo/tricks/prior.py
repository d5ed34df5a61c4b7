"""Human prior: the answer must not depend on the input where a mask says so.

Paper: Ross et al., 2017, https://arxiv.org/abs/1703.03717, equation 1
Use when: training data betray the answer by something that will not be there later: a watermark, a border, a ruler.
Start with: a weight at which the penalty is about as large as the loss, the paper's rule; double it until the gradients
    inside the mask are gone.
Formula: L' = L + weight * mean over examples of sum over masked inputs of (d (sum over classes of log p) / dx)^2
Composes with: every loss, schedule, attack and flooding.
Conflicts with: augmentation that moves the image under the mask (a warning).
Departures: the mean over examples where the paper has the sum. One mask serves all examples: in a stream of batches
    nothing says which example a row of masks would belong to. The paper's L2 penalty is the optimizer's weight decay.
Cost: about three plain steps: the penalty's own gradient goes back through a second pass twice.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras import ops

from zoo.attacks import gradient_scale
from zoo.errors import invalid
from zoo.objectives import differentiable_gradients, floating
from zoo.plan import by_name
from zoo.registry import trick

CLASSES = ("softmax", "sigmoid")
_MOVED = "the mask stays where it is while the image under it moves, so that it hides other parts (Ross et al., 2017, "
_MOVED += "mark each example as it is shown)"


def sum_of_log_probabilities(kind, logits):
    """Returns the sum over examples and classes of log p, a float32 scalar.

    Args:
        kind: "softmax" for logits (B, C) of exclusive classes, "sigmoid" for logits (B, units) of a yes or no each.
        logits: tensor.
    """
    logits = ops.cast(logits, "float32")
    if kind == "softmax":
        return ops.sum(ops.log_softmax(logits, axis=-1))
    return ops.sum(ops.log_sigmoid(logits) + ops.log_sigmoid(-logits))


class Irrelevance:
    """The objective that penalises gradients by masked inputs.

    Args:
        mask: path of an `.npy` file, or nested tuples of 0 and 1, where 1 marks what must not matter.
        weight: of the penalty.
        heads: of the plan, those with classes.
    """

    def __init__(self, mask, weight, heads):
        self.mask, self.weight, self.heads = mask, weight, heads
        self._array = None

    def array(self, shape):
        """Returns the mask as float32, its shape that of an input without the batch, channels 1 where it has none.

        Raises:
            InvalidArgument: the file is missing or no array, the shape does not fit, or a value is neither 0 nor 1.
        """
        if self._array is None:
            self._array = fitting(read_mask(self.mask), shape)
        return self._array

    def prepare(self, model):
        """Reads the mask when training starts, so that a model trained elsewhere loads without it; see `array`."""
        shape = _input(model.plan).shape[1:]
        if None in shape:
            read_mask(self.mask)
        else:
            self.array(shape)

    def sources(self):
        """Returns the hash of a mask that is in a file, for the identity of the run; see `zoo.plan.Plan`."""
        if not isinstance(self.mask, str):
            return {}  # the recipe holds it
        found = read_mask(self.mask)
        content = str(found.shape).encode() + found.tobytes()
        return {"prior_mask": f"sha256:{hashlib.sha256(content).hexdigest()}"}

    def __call__(self, step, loss):
        """Returns the loss with the penalty on a `zoo.objectives.Step`."""
        _, values, _ = step.float_inputs()
        if len(values) != 1:
            raise invalid("prior needs an input of a floating type", works="Pass x.astype('float32').")
        mask = ops.convert_to_tensor(self.array(values[0].shape[1:]))
        scale = gradient_scale(step.model)
        slopes = differentiable_gradients(
            lambda v: scale * self._log_probabilities(step.logits_on(step.with_floats(v)), step.model),
            [ops.stop_gradient(values[0])],
        )
        masked = ops.cast(slopes[0], "float32") / scale * mask
        count = ops.cast(ops.shape(masked)[0], "float32")
        return loss + self.weight * ops.cast(ops.sum(ops.square(masked)) / count, loss.dtype)

    def _log_probabilities(self, outputs, model):
        outputs = by_name(model, outputs)
        return sum(sum_of_log_probabilities(head.kind, outputs[head.name]) for head in self.heads)


def read_mask(mask):
    """Returns a mask, the path of an `.npy` file or nested tuples, as float32.

    Raises:
        InvalidArgument: the file is missing or no array, or a value is neither 0 nor 1.
    """
    if isinstance(mask, str):
        path = Path(mask).expanduser()
        if not path.is_file():
            raise invalid("prior: there is no mask file", str(path), "Write one with np.save, of 0 and 1.")
        try:
            found = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise invalid(
                f"prior: the mask file cannot be read ({error})", str(path), "Write it with np.save."
            ) from None
    else:
        try:
            found = np.array(mask)
        except ValueError:
            found = None  # rows of different lengths
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "buif":
        raise invalid(
            "prior: `mask` must be one array of numbers", works="Write it as rows of 0 and 1 of equal length."
        )
    if not np.isin(found, (0, 1)).all():
        raise invalid("prior: a mask holds 0 and 1 alone", np.unique(found)[:5].tolist(), "1 is what must not matter.")
    if not found.any():
        raise invalid(
            "prior: the mask is 0 everywhere, so nothing would be penalised", works="Set 1 where x must not matter."
        )
    return found.astype("float32")


def fitting(mask, shape):
    """Returns a mask that fits inputs of a shape, with an axis for the channels where it has none.

    Raises:
        InvalidArgument: it does not fit.
    """
    if len(mask.shape) == 2 and len(shape) == 3:
        mask = mask[..., None]
        alike = mask.shape[:2] == tuple(shape[:2])
    else:
        alike = mask.shape == tuple(shape)
    if not alike:
        works = f"Inputs have shape {tuple(shape)}: give a mask of that shape" + (
            f", or {tuple(shape[:2])} for all channels." if len(shape) == 3 else "."
        )
        given = mask.shape[:-1] if mask.shape[-1] == 1 and len(shape) == 3 else mask.shape
        raise invalid("prior finds no input of the mask's shape", given, works)
    return mask


@trick("prior", stage="objective")
@dataclass(frozen=True)
class Prior:
    """See the card above.

    `mask`: path of an `.npy` file, or nested tuples, of 0 and 1 in the input's shape without the batch, (H, W, C) or
    (H, W) for all channels; 1 marks what must not matter. `weight`: of the penalty.
    """

    mask: str | tuple | None = None
    weight: float = 10.0
    clashes = {"flip_crop": _MOVED, "randaugment": _MOVED}

    def __post_init__(self):
        if self.weight <= 0:
            raise invalid("prior: `weight` must be positive", self.weight)
        if self.mask is None:
            raise invalid("prior needs a mask", self.mask, "Write prior(mask='mask.npy').")
        if not isinstance(self.mask, str):
            read_mask(self.mask)

    def apply(self, plan):
        heads = plan.head_for("prior", CLASSES)
        given = _input(plan)
        objective = Irrelevance(self.mask, self.weight, heads)
        if not isinstance(self.mask, str) and None not in given.shape[1:]:
            objective.array(given.shape[1:])

        plan = plan.adding("objective", objective).adding("before_fit", objective.prepare)
        return plan.adding("sources", objective.sources)

    def explain(self, plan):
        given = _input(plan)
        where = f"the mask of {self.mask!r}" if isinstance(self.mask, str) else "the mask"
        if not isinstance(self.mask, str) or Path(self.mask).expanduser().is_file():
            found = read_mask(self.mask)
            where += f" ({int(found.sum()):,} of {found.size:,} values)"
        return (
            f"adds {self.weight:g} times the mean squared gradient of the summed log-probabilities by input "
            f"{given.name!r} {tuple(given.shape[1:])} within {where}; about three times the time of a plain step"
        )


def _input(plan):
    found = [i for i in plan.model.inputs if floating(i)]
    if len(found) != 1:
        has = [f"{i.name}: {i.dtype}" for i in plan.model.inputs]
        raise invalid(f"prior finds no single input with gradients in model {plan.name!r}", has, "Drop prior.")
    return found[0]

"""A trained model as the teacher of another: resolved, checked against its student, and asked in the student's step."""

import numpy as np
from keras import ops

from zoo.data.declarations import completed
from zoo.errors import InvalidArgument, invalid
from zoo.plan import by_name, heads_of
from zoo.recurrent_state import states_of
from zoo.spec import Spec, spec_of

CLASSES = ("softmax", "sigmoid")
_OTHER = "Give a teacher of the same classes, or fine-tune it on this data first."


def soft_target_loss(student, teacher, temperature, independent=False):
    """Returns T^2 KL(teacher || student) of each example, both softened by a temperature T, shape (...).

    The gradient is that of the cross-entropy with soft targets; the divergence is 0 where the student is the teacher.
    Source: Hinton et al., 2015, https://arxiv.org/abs/1503.02531, section 2.

    Args:
        student, teacher: logits (..., C); a single one is read as that of the second of two classes.
        temperature: T.
        independent: whether each logit is a yes/no question of its own; their divergences are added up.
    """
    student, teacher = (_in_full(x, independent) for x in (student, teacher))
    log_p, log_q = (ops.log_softmax(x / temperature, axis=-1) for x in (teacher, student))
    each = temperature**2 * ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return ops.sum(each, axis=-1) if independent else each


def as_answers(logits, independent, wanted):
    """Returns logits (..., C) of one kind of head as those of the other, for the same probabilities up to scale.

    Args:
        logits: of C > 1 classes.
        independent: whether they are yes/no questions; else those of a softmax.
        wanted: whether they shall be. A softmax's probability p becomes log(p / (1 - p)); a yes/no question's becomes
            log p, as the softmax of these has its probabilities over their sum.
    """
    if independent == wanted:
        return logits
    if not wanted:
        return ops.log_sigmoid(logits)
    log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    return log_p - ops.log(ops.maximum(-ops.expm1(log_p), 1e-7))


def _in_full(logits, independent):
    logits = ops.cast(logits, "float32")
    if independent:
        logits = logits[..., None]
    if logits.shape[-1] == 1:
        logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
    return logits


class Teacher:
    """A model that is trained already, which a student's step asks about the student's own batch.

    Its weights are constants: they are neither trained nor saved with the student.

    Args:
        ref: a reference, a run folder, or the name of registered weights.
    """

    def __init__(self, ref):
        self.ref = ref
        self.model = None
        self._spec = None
        self._pairs = ()
        self._affine = None

    def prepare(self, student):
        """Loads the model, once, and checks that it can teach a student; a before_fit function of a plan.

        Raises:
            InvalidArgument: it cannot be loaded, or has other classes, inputs or preprocessing.
        """
        if self.model is None:
            self.model, self._spec = self._loaded()
        theirs = spec_of(student, default=Spec(student.name, {}, None))
        self._check_inputs(student)
        self._pairs = self._paired(student, theirs)
        self._affine = self._conversion(student, theirs)

    def sources(self):
        """Returns the weights that decide what a student learns, for the identity of its run; see `zoo.plan.Plan`."""
        if self.model is None:
            self.model, self._spec = self._loaded()
        from zoo.session import fingerprint_of

        return {"teacher": {"ref": self.ref, "weights": fingerprint_of(self.model)}}

    def _loaded(self):
        from zoo.hub import load

        try:
            model = load(self.ref)
        except InvalidArgument as error:
            raise invalid(f"distill: the teacher cannot be loaded ({error})") from error
        if states_of(model):
            works = "Load it with batch_size=None, save it with model.save, and give the .keras file."
            raise invalid("distill: the teacher carries state from batch to batch", self.ref, works)
        model.trainable = False
        return model, spec_of(model, default=Spec(model.name, {}, None))

    def _check_inputs(self, student):
        ours, own = _shapes(self.model), _shapes(student)
        if ours != own:
            works = "Give a teacher of the student's input, or build the student with the teacher's."
            wrong = f"distill finds no input in common: the teacher {self.ref} takes {ours} and the student {own}"
            raise invalid(wrong, works=works)

    def _paired(self, student, theirs):
        """Returns (student's head, teacher's head, order of the teacher's classes or None) rows."""
        mine = {h.name: h for h in student.plan.heads if h.kind in CLASSES}
        ours = {h.name: h for h in heads_of(self.model) if h.kind in CLASSES}
        if len(mine) == len(ours) == 1:
            names = [(next(iter(mine)), next(iter(ours)))]
        else:
            names = [(name, name) for name in mine if name in ours]
        if not names:
            has = ", ".join(ours) or "no classes"
            wrong = (
                f"distill finds no output in common: the teacher {self.ref} has {has}, the student {', '.join(mine)}"
            )
            raise invalid(wrong, works="Give a teacher of the same outputs.")
        return [(mine[a], ours[b], self._order(mine[a], ours[b], theirs)) for a, b in names]

    def _order(self, head, other, theirs):
        """Returns where the teacher has the student's classes, a list, or None where they stand alike."""
        counts = [max(h.units, 2) for h in (head, other)]
        if counts[0] != counts[1]:
            kinds = [f"{h.units} {h.kind} {'unit' if h.units == 1 else 'units'}" for h in (head, other)]
            wrong = f"distill finds no common classes: head {head.name!r} has {kinds[0]}, the teacher {kinds[1]}"
            raise invalid(wrong, self.ref, _OTHER)
        mine, ours = _labels(theirs, head.name), _labels(self._spec, other.name)
        if mine is None or ours is None or mine == ours:
            return None
        if sorted(mine) != sorted(ours) or 1 in (head.units, other.units):
            shown = f"the teacher {self.ref} knows {', '.join(ours)}; the student {', '.join(mine)}"
            raise invalid(f"distill finds no common classes in the same order: {shown}", works=_OTHER)
        return [ours.index(label) for label in mine]

    def _conversion(self, student, theirs):
        """Returns (factor, offset) by channel that make the student's image what the teacher reads, or None."""
        mine, ours = theirs.preprocessing, self._spec.preprocessing
        if not mine or not ours:
            return None  # nothing is known of one: both are taken to read alike
        mine, ours = completed(mine), completed(ours)
        if mine == ours:
            self._check_vocabulary(student)
            return None
        kinds = mine.get("kind"), ours.get("kind")
        ranges = mine.get("maximum"), ours.get("maximum")
        orders = mine.get("order", "rgb"), ours.get("order", "rgb")
        if kinds != ("image", "image") or (None in ranges and ranges != (None, None)) or orders[0] != orders[1]:
            works = "Train the student on data read as the teacher reads it: zoo.data.load_like(data, preprocessing)."
            raise invalid(
                f"distill: the teacher {self.ref} reads its inputs differently, and not by a scale", works=works
            )
        channels = mine["image_shape"][-1]
        ratio = ranges[1] / ranges[0] if ranges[0] else 1.0
        (scale, mean, std), (their_scale, their_mean, their_std) = (_affine(d, channels) for d in (mine, ours))
        # The student's x is (raw * scale - mean) / std.
        factor = std / scale * their_scale * ratio / their_std
        offset = (mean / scale * their_scale * ratio - their_mean) / their_std
        return factor.astype("float32"), offset.astype("float32")

    def _check_vocabulary(self, student):
        """Refuses a teacher whose words have other ids, where the student's are known."""
        origin, assets = getattr(self.model, "zoo_origin", None), getattr(student, "zoo_assets", None)
        if origin is not None and assets is not None and origin.assets() != assets:
            works = "Train the student on data read with the teacher's vocabulary: zoo.data.load_like(data, ...)."
            raise invalid(f"distill: the teacher {self.ref} has another vocabulary", works=works)

    def loss(self, step, temperature):
        """Returns the weighted sum over heads of the mean `soft_target_loss` in one training step, a scalar."""
        if self.model is None:
            works = "Train with `fit`, or run `for check in model.plan.before_fit: check(model)` first."
            raise invalid("distill has not loaded its teacher yet", works=works)
        x = step.x
        if self._affine is not None:
            x = ops.cast(x, "float32") * self._affine[0] + self._affine[1]
        said = by_name(self.model, self.model(x, training=False))
        answers = by_name(step.model, step.logits)
        total = 0.0
        for head, other, order in self._pairs:
            theirs = ops.stop_gradient(said[other.name])
            if order is not None:
                theirs = ops.take(theirs, np.array(order, "int32"), axis=-1)
            independent = _is_independent(head)
            if other.units > 1 and head.units > 1:
                theirs = as_answers(theirs, _is_independent(other), independent)
            each = soft_target_loss(answers[head.name], theirs, temperature, independent)
            total = total + head.weight * ops.mean(_weighed(each, step.sample_weight))
        return total


def _is_independent(head):
    return head.kind == "sigmoid" and head.units > 1


def _weighed(each, weight):
    """Returns each example's loss times its weight, as Keras weighs its own; weights by head are not used."""
    if weight is None or isinstance(weight, (dict, list, tuple)):
        return each
    weight = ops.cast(weight, each.dtype)
    return each * ops.reshape(weight, (*weight.shape, *([1] * (len(each.shape) - len(weight.shape)))))


def _shapes(model):
    """Returns a model's inputs as text: their shapes, by name where there are several."""
    found = {x.name: "x".join(map(str, x.shape[1:])) for x in model.inputs}
    return ", ".join(f"{k} {v}" for k, v in sorted(found.items())) if len(found) > 1 else next(iter(found.values()))


def _labels(spec, head):
    labels = spec.labels.get(head) if isinstance(spec.labels, dict) else spec.labels
    return [str(label) for label in labels] if isinstance(labels, (tuple, list)) else None


def _affine(declared, channels):
    """Returns scale, mean and standard deviation by channel of an image declaration."""
    mean, std = declared.get("mean") or [0.0] * channels, declared.get("std") or [1.0] * channels
    return declared.get("scale", 1.0), np.array(mean, "float64"), np.array(std, "float64")

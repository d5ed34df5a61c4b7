"""Distillation: a model learns the soft answers of a teacher beside the labels.

Paper: Hinton et al., 2015, https://arxiv.org/abs/1503.02531, section 2
Use when: a large trained model, or an ensemble's best member, should hand its knowledge to a small one.
Start with: weight=0.5 and temperature=2; a higher temperature where the teacher is very sure of itself.
Formula: L = (1 - w) L_labels + w T^2 KL(softmax(z_teacher / T) || softmax(z_student / T))
Composes with: augmentation, mixup included (the teacher sees the very batch that the student sees), every loss,
    schedule and optimizer; an attack's loss takes the place of the labels' share, and the teacher sees clean inputs.
Conflicts with: ant, fgsm, ifgsm, pgd and free_lb at weight=1, which leaves them no loss to take the place of.
Departures: the divergence in place of the cross-entropy with soft targets, which differs from it by a constant.
Cost: one inference pass of the teacher a step, and its weights in memory; none of it is saved with the student.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.registry import trick
from zoo.teaching import CLASSES, Teacher


@trick("distill", stage="targets")
@dataclass(frozen=True)
class Distill:
    """See the card above.

    `teacher`: a reference, a run folder, the name of registered weights or a `.keras` file; it is looked for when
    training starts, so that a saved student loads without it. Its classes are matched by name where both are known,
    else by number; images are brought to its scale, mean and deviation. `weight`: share of the teacher in the loss,
    in (0, 1]; the labels have the rest. `temperature`: T, positive.
    """

    teacher: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    clashes = {
        "label_smoothing": "both soften the student's targets, and smoothing blurs what the teacher says about the "
        "classes that are nearly right (Müller et al., 2019, https://arxiv.org/abs/1906.02629, section 4)"
    }

    def __post_init__(self):
        if not self.teacher:
            raise invalid("distill needs a teacher", self.teacher, "Write distill(teacher='runs/large').")
        if not 0 < self.weight <= 1:
            raise invalid("distill: `weight` must be above 0 and at most 1", self.weight)
        if not self.temperature > 0:
            raise invalid("distill: `temperature` must be positive", self.temperature)

    def apply(self, plan):
        plan.head_for("distill", CLASSES)
        teacher = Teacher(self.teacher)

        def objective(step, loss):
            soft = teacher.loss(step, self.temperature)
            step.plain_weight *= 1.0 - self.weight
            return (1.0 - self.weight) * loss + self.weight * soft

        if self.weight == 1:
            objective.leaves_no_plain = "distill"
        plan = plan.adding("objective", objective).adding("before_fit", teacher.prepare)
        return plan.adding("sources", teacher.sources)

    def explain(self, plan):
        names = ", ".join(repr(head.name) for head in plan.head_for("distill", CLASSES))
        sure = 99 ** (1 / self.temperature)
        return (
            f"trains {names} on {1 - self.weight:.0%} labels and {self.weight:.0%} answers of {self.teacher!r} at "
            f"temperature {self.temperature:g}, which turns its 99% against 1% into {sure / (1 + sure):.0%} against "
            f"{1 / (1 + sure):.0%}; one inference pass of the teacher a step"
        )

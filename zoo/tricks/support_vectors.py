"""Support vectors: score every training example in a short training, and train on the hardest part alone.

Paper: Paul et al., 2021, https://arxiv.org/abs/2107.07075, section 2 on el2n
Use when: data is plentiful and much of it alike, or it is to be seen which examples a model leans on.
Start with: fraction=0.5 of a large data set, and a model that fits it; zoo.support_vectors says from which fraction on
    a random part does better, as it does for small ones, for models that are too simple, and where labels are wrong.
Formula: margin: z_y - max over c other than y of z_c; el2n: the length of p - y; forgetting: how often right becomes
    wrong from one epoch to the next
Composes with: everything. The scoring uses the recipe's tricks up to the optimizer, without its schedule.
Conflicts with: plain `fit`, which does not see the data as a whole; train with zoo.train.
Departures: forgetting events (Toneva et al., 2019, https://arxiv.org/abs/1812.05159, section 3) are counted from epoch
    to epoch, there at each mini-batch; el2n is averaged over the epochs of one scoring, in the paper over ten trainings
    (zoo.support_vectors averages over seeds too).
Cost: `epochs` of training and as many inference passes over the training examples; then each epoch takes `fraction`
    of the time.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.registry import trick
from zoo.scoring import Selection, check


def _needs_train(model):
    if not getattr(model, "subset_chosen", False):
        works = "Write zoo.train(model, data, recipe=...), or choose a part of the data with zoo.support_vectors first."
        raise invalid("support_vectors needs zoo.train: a plain `fit` cannot score the training examples", works=works)


@trick("support_vectors", stage="data")
@dataclass(frozen=True)
class SupportVectors:
    """See the card above.

    `fraction`: of the training examples that is kept, above 0 and below 1. `score`: "el2n", "margin" or "forgetting".
    `epochs`: of the training that scores. `keep`: "hardest", "easiest", or "moderate", those nearest to the median.
    `balanced`: whether each class keeps its share.
    """

    fraction: float = 0.5
    score: str = "el2n"
    epochs: int = 2
    keep: str = "hardest"
    balanced: bool = False

    def __post_init__(self):
        check("support_vectors", score=self.score, keep=self.keep, epochs=self.epochs, fractions=(self.fraction,))
        if self.fraction == 1:
            raise invalid("support_vectors: `fraction` must be below 1", self.fraction, "Drop it to keep everything.")

    def apply(self, plan):
        kinds = [head.kind for head in plan.heads]
        if len(kinds) != 1 or kinds[0] not in ("softmax", "sigmoid") or len(plan.model.outputs[0].shape) != 2:
            has = [f"{head.name}: {head.kind}" for head in plan.heads]
            wrong = f"support_vectors finds no single head of classes in model {plan.name!r}"
            raise invalid(wrong, has, "Drop support_vectors.")
        chosen = Selection(self.fraction, self.score, self.epochs, self.keep, self.balanced)
        return plan.but(subset=chosen).adding("before_fit", _needs_train)

    def explain(self, plan):
        each = ", each class in proportion" if self.balanced else ""
        name = {"el2n": "EL2N", "margin": "the margin", "forgetting": "forgetting events"}[self.score]
        return (
            f"scores every training example by {name} in {self.epochs} epochs of training, then starts anew on "
            f"{self.fraction:.0%} of them, the {self.keep}{each}"
        )

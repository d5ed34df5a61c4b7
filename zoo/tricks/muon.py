"""Muon: matrices step along their orthogonalised momentum, everything else by AdamW.

Paper: Liu et al., 2025, https://arxiv.org/abs/2502.16982, section 2.2
Use when: most weights are in dense matrices, as in transformers.
Start with: Adam's own learning rate and weight decay, thanks to rms_rate=0.2, the paper's; the other defaults are
Keras's, whose weight decay is 0.004.
Formula: m = momentum m + g, u = orthogonalised(g + momentum m) by ns_steps steps of x = a x + (b x x' + c (x x')^2) x,
    w = w - rate rms_rate sqrt(max(rows, columns)) u
Composes with: every schedule, clip_norm, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer; weight_decay, unless its own is 0.
Departures: the heads step by AdamW, as the authors advise and Keras does not by itself; `exclude_layers=()` is Keras's.
Cost: ns_steps times three products of matrices for each matrix and step.
"""

import re
from dataclasses import dataclass

import keras

from zoo.errors import invalid, unknown
from zoo.optimizers import KerasOptimizer
from zoo.plan import count
from zoo.registry import trick


def two_decays(learning_rate, adam_weight_decay, weight_decay, **options):
    """Returns Keras's Muon, whose two weight decays are one unless they are given apart."""
    apart = weight_decay if adam_weight_decay is None else adam_weight_decay or None
    return keras.optimizers.Muon(learning_rate, adam_weight_decay=apart, weight_decay=weight_decay, **options)


two_decays.__name__ = "Muon"


@trick("muon", stage="optimizer")
@dataclass(frozen=True)
class Muon(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `momentum`, `nesterov`: of matrices. `ns_steps`: of the orthogonalisation; `muon_a`,
    `muon_b`, `muon_c`: its coefficients. `rms_rate`: size of a matrix's step, None for that of an orthogonal matrix.
    `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; `adam_weight_decay`: that of what
    steps by AdamW, None for the same. `adam_lr_ratio`: of the rate of AdamW to that of Muon. `adam_beta_1`,
    `adam_beta_2`, `epsilon`: as for adam. `exclude_layers`: patterns of the paths of matrices that step by AdamW, None
    for those of the heads. `exclude_embeddings`: embeddings too.
    """

    learning_rate: float = 1e-3
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_weight_decay: float | None = None
    epsilon: float = 1e-7
    weight_decay: float = 0.004
    exclude_layers: tuple | None = None
    exclude_embeddings: bool = True
    muon_a: float = 3.4445
    muon_b: float = -4.775
    muon_c: float = 2.0315
    adam_lr_ratio: float = 1.0
    momentum: float = 0.95
    ns_steps: int = 5
    nesterov: bool = True
    rms_rate: float | None = 0.2

    makes = staticmethod(two_decays)

    def __post_init__(self):
        super().__post_init__()
        for pattern in self.exclude_layers or ():
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                works = "Give parts of paths, such as ('logits',)."
                raise invalid(f"muon: `exclude_layers` must hold patterns ({error})", pattern, works) from error

    def arguments(self, plan):
        if self.exclude_layers is not None:
            excluded = list(self.exclude_layers)
            for pattern in excluded:
                if not any(re.search(pattern, v.path) for v in plan.trained):
                    names = [layer.name for layer in plan.model.layers if layer.weights]
                    raise unknown(f"layer with weights in model {plan.name!r}, for muon to exclude,", pattern, names)
        else:
            heads = {x._keras_history.operation.name for x in plan.model.outputs}
            excluded = [f"^{re.escape(name)}/" for name in sorted(heads)]
        return super().arguments(plan) | {"exclude_layers": excluded}

    def matrices(self, plan):
        """Returns the weights that Muon itself steps."""
        probe = self.makes(1.0, weight_decay=None, **self.arguments(plan))
        return [v for v in plan.trained if not probe._should_use_adamw(v)]

    def state(self, plan):
        return 2 * count(plan.trained) - count(self.matrices(plan))

    def explain(self, plan):
        matrices = self.matrices(plan)
        share = count(matrices) / count(plan.trained)
        split = f"{len(matrices)} matrices, {share:.0%} of the weights, step by Muon, the rest by AdamW"
        return f"{split}; {super().explain(plan)}"

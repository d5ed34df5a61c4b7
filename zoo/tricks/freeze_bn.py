"""Batch norm that keeps its statistics, and normalises with them in training too.

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, appendix A
Use when: a pretrained model is fine-tuned in small batches, whose own statistics are noise.
Start with: affine=False, so that scale and shift still learn; the paper keeps them too.
Formula: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the stored mean and variance
Composes with: everything else. It needs statistics worth keeping: those of a model trained before.
Conflicts with: ftrl and schedule_free_adamw, which make weights out of sums over all steps, and models of two players,
    where affine=True.
"""

from dataclasses import dataclass

from zoo.batch_statistics import batch_norms
from zoo.errors import invalid
from zoo.registry import trick


@trick("freeze_bn", stage="callbacks")
@dataclass(frozen=True)
class FreezeBn:
    """See the card above. `affine`: whether scale and shift, gamma and beta, stay as they are too."""

    affine: bool = False

    def apply(self, plan):
        layers = batch_norms(plan.model)
        if not layers:
            works = "Drop freeze_bn, or group_norm or layer_norm where that took the batch norm's place."
            raise invalid(f"freeze_bn finds no batch norm in model {plan.name!r}", works=works)
        plan = plan.adding("inference_layers", *layers)
        return plan.adding("rate_factors", fixed_affine) if self.affine else plan

    def explain(self, plan):
        layers = batch_norms(plan.model)
        weights = sum(v.shape[0] for layer in layers for v in layer.trainable_variables)
        affine = f"; their {weights:,} weights stay too" if self.affine else f"; their {weights:,} weights still learn"
        return f"{len(layers)} batch-norm layers keep their statistics and normalise with them{affine}"


def fixed_affine(model):
    """Returns factor 0 of the learning rate for gamma and beta of each batch-norm layer, by path."""
    return {v.path: 0.0 for layer in batch_norms(model) for v in layer.trainable_variables}


fixed_affine.trick = "freeze_bn"  # for messages

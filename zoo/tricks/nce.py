"""Noise-contrastive estimation: a class against sampled noise in place of a softmax over many classes.

Paper: Mnih and Teh, 2012, https://arxiv.org/abs/1206.6426, section 3
Use when: a vocabulary is large and probabilities are wanted without a sum over all classes: z - log V tends to log p.
Start with: 64 samples; with 25, on 10,000 words, the paper does as well as with the whole softmax.
Formula: L = -log sigma(s(y)) - sum over K noise classes k of log sigma(-s(k)), s(c) = z_c - log V - log(K q_c)
Composes with: soft targets and label_smoothing (the first term is then its mean over the targets), every schedule,
    optimizer and objective.
Conflicts with: every other loss.
Departures: noise classes are shared by all examples of a batch; the normaliser is fixed at V, the number of classes,
    where the paper fixes it at 1, so that logits near 0 start as the uniform distribution.
Cost: none is saved in the model here: it still computes the logits of all classes, which its accuracy reads; only the
    softmax's sum and its gradient go. skipgram and cbow compute the candidates alone: build them with loss="nce".
"""

from dataclasses import dataclass

from zoo import sampled
from zoo.registry import trick


@trick("nce", stage="loss")
@dataclass(frozen=True)
class Nce:
    """See the card above.

    `samples`: noise classes drawn in each step. `noise`: "log_uniform" for classes that are numbered from the most
    frequent on, as vocabularies are here, or "uniform".
    """

    samples: int = 64
    noise: str = "log_uniform"

    def __post_init__(self):
        sampled.check("nce", self.samples, self.noise)

    def apply(self, plan):
        return sampled.applied("nce", plan, self.samples, self.noise, nce=True)

    def explain(self, plan):
        return sampled.explained("nce", plan, self.samples, self.noise)

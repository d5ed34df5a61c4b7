"""Negative sampling: a class against a few sampled ones in place of a softmax over many classes.

Paper: Mikolov et al., 2013, https://arxiv.org/abs/1310.4546, section 2.2 and equation 4
Use when: good representations are wanted from a task with very many classes, rather than probabilities: the logits
    rank classes by how much likelier they are than under the noise, z_c tends to log(p_c / (1 - p_c) / (K q_c)).
Start with: 15 samples (the paper: 5 to 20 for small data, 2 to 5 for large).
Formula: L = -log sigma(z_y) - sum over K noise classes k other than y of log sigma(-z_k)
Composes with: soft targets and label_smoothing (the first term is then its mean over the targets), every schedule,
    optimizer and objective.
Conflicts with: every other loss.
Departures: noise classes are shared by all examples of a batch, and are drawn log-uniformly or uniformly, where
    word2vec draws by counts to the power 3/4.
Cost: none is saved in the model here: it still computes the logits of all classes, which its accuracy reads; only the
    softmax's sum and its gradient go. skipgram and cbow compute the candidates alone.
"""

from dataclasses import dataclass

from zoo import sampled
from zoo.registry import trick


@trick("negative_sampling", stage="loss")
@dataclass(frozen=True)
class NegativeSampling:
    """See the card above.

    `samples`: noise classes drawn in each step. `noise`: "log_uniform" for classes that are numbered from the most
    frequent on, as vocabularies are here, or "uniform".
    """

    samples: int = 15
    noise: str = "log_uniform"

    def __post_init__(self):
        sampled.check("negative_sampling", self.samples, self.noise)

    def apply(self, plan):
        return sampled.applied("negative_sampling", plan, self.samples, self.noise, nce=False)

    def explain(self, plan):
        return sampled.explained("negative_sampling", plan, self.samples, self.noise)

"""Dropout rate of a model that has dropout.

Paper: Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html
Use when: training accuracy runs far ahead of validation accuracy.
Start with: 0.1 in transformers, 0.5 before a dense classifier.
Formula: y = x m / (1 - rate), each m 1 with probability 1 - rate and else 0; y = x outside training
Composes with: everything.
Conflicts with: a `drop_rate` given to the builder that says something else.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.registry import trick


@trick("dropout", stage="builder")
@dataclass(frozen=True)
class Dropout:
    """See the card above. `rate`: share of units that are zeroed in a training step, in [0, 1)."""

    rate: float = 0.1

    def __post_init__(self):
        if not 0 <= self.rate < 1:
            raise invalid("dropout: `rate` must be in [0, 1)", self.rate)

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets."""
        if "drop_rate" not in arguments:
            raise invalid(f"dropout finds no dropout in model {name!r}", sorted(arguments), "Drop the term.")
        return {"drop_rate": self.rate}

    def apply(self, plan):
        return plan

    def explain(self, plan):
        return f"each dropout layer zeroes {self.rate:.0%} of its units in a training step"

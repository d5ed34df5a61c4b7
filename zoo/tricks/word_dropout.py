"""Word dropout: some words of each training text become the unknown word.

Paper: Iyyer et al., 2015, https://aclanthology.org/P15-1162, section 2.3 (words dropped); Bowman et al., 2015,
    https://arxiv.org/abs/1511.06349, section 3.1 (words replaced by the unknown word)
Use when: a text classifier remembers its training texts, or will meet words it has not seen.
Start with: rate=0.1; the papers' 0.3 for short models that average their words.
Formula: each word becomes `replace` with probability `rate`; padding stays
Composes with: every loss, objective and schedule; fgm, which perturbs what is left.
Conflicts with: nothing.
Departures: words keep their places; Iyyer et al. take them out, which for an average of words is nearly the same.
"""

from dataclasses import dataclass

from zoo.augmentation import PIXELS, placed
from zoo.data.preprocessing import PADDING, UNKNOWN
from zoo.errors import invalid
from zoo.registry import trick

TASKS = ("text_classification", "text_pair_classification", "question_answering", "text_generation")


def word_dropout(tokens, seeds, *, rate, replacement):
    """Replaces some words of a batch.

    Args:
        tokens: integer TensorFlow tensor (B, ...), 0 where there is no word.
        seeds: int32 (2,); the same seeds replace the same words.
        rate: probability of each word to be replaced.
        replacement: id that it becomes.
    """
    import tensorflow as tf

    dropped = (tf.random.stateless_uniform(tf.shape(tokens), seeds) < rate) & (tokens != PADDING)
    return tf.where(dropped, tf.cast(replacement, tokens.dtype), tokens)


@trick("word_dropout", stage="data")
@dataclass(frozen=True)
class WordDropout:
    """See the card above.

    `rate`: share of the words that are replaced, in (0, 1). `replace`: "unknown", or the id of another word, such as a
    mask's.
    """

    rate: float = 0.1
    replace: str | int = "unknown"

    def __post_init__(self):
        if not 0 < self.rate < 1:
            raise invalid("word_dropout: `rate` must be between 0 and 1", self.rate)
        if isinstance(self.replace, str) and self.replace != "unknown":
            raise invalid("word_dropout: `replace` must be 'unknown' or the id of a word", self.replace)
        if not isinstance(self.replace, str) and self.replace < 1:
            raise invalid("word_dropout: `replace` must be 1 or more, as id 0 is padding", self.replace)

    @property
    def replacement(self):
        """The id that a dropped word becomes."""
        return UNKNOWN if self.replace == "unknown" else self.replace

    def apply(self, plan):
        names = self._inputs(plan)

        @placed(PIXELS)
        def augment(x, y, seeds):
            import tensorflow as tf

            if not isinstance(x, dict):
                return word_dropout(x, seeds, rate=self.rate, replacement=self.replacement), y
            each = tf.unstack(tf.random.experimental.stateless_split(seeds, len(names)))
            changed = {
                name: word_dropout(x[name], seed, rate=self.rate, replacement=self.replacement)
                for name, seed in zip(names, each, strict=True)
            }
            return x | changed, y

        return plan.adding("augment", augment)

    def _inputs(self, plan):
        """Returns the names of the inputs that hold words."""
        inputs = plan.model.inputs
        names = [i.name for i in inputs if i.dtype.startswith("int")] if plan.task in TASKS else []
        if not names:
            has = [f"{i.name}: {i.dtype} {tuple(i.shape)}" for i in inputs]
            raise invalid(f"word_dropout finds no text input in model {plan.name!r}", has, "Drop the term.")
        spec = getattr(plan.model, "zoo_spec", None)
        size = (spec.arguments if spec else {}).get("vocab_size")
        if size is not None and self.replacement >= size:
            raise invalid(f"word_dropout: the model knows the ids 0 to {size - 1}", self.replace)
        return names

    def explain(self, plan):
        inputs = ", ".join(map(repr, self._inputs(plan)))
        what = "the unknown word" if self.replace == "unknown" else f"word {self.replace}"
        return f"each word of {inputs} becomes {what} (id {self.replacement}) with probability {self.rate:.0%}"

"""What a trained model makes up: text that goes on from a prompt, or pictures out of noise."""

import numpy as np

from zoo.data import preprocessing
from zoo.errors import invalid
from zoo.inference import assets_of, loaded
from zoo.layers.ends import positive
from zoo.measuring import log_probabilities, outputs_of
from zoo.recurrent_state import carrying, reset_states, twin
from zoo.spec import spec_of

IMAGES = 16  # drawn where nobody says how many
_BEFORE = frozenset(".,;:!?)]}%")  # marks that stand close after a word
_AFTER = frozenset("([{$#")  # and close before one


def generate(model, prompt="", *, length=50, temperature=1.0, top_k=None, count=None, seed=0):
    """Makes up text or pictures with a trained model; the same ones for the same seed.

    Args:
        model: a model, a reference, a `Run` or a run folder; for text_generation or image_generation.
        prompt: text that a language model goes on from; without, it begins one.
        length: most words and marks to add; a text that ends earlier is shorter.
        temperature: what the logits are divided by: below 1 likelier words become likelier still, 0 takes the most
            probable word each time.
        top_k: draws among that many most probable words; None among all.
        count: how many pictures; 16 by default.
        seed: of the random numbers.

    Returns:
        Of a language model the prompt and what follows, a `str`; else pictures, uint8 (count, H, W, C).

    Raises:
        InvalidArgument: the model is for another task, has no vocabulary, or an argument cannot work.
    """
    found = loaded(model)
    spec = spec_of(found)
    if spec.task == "image_generation":
        from zoo.generating import generate_images

        if prompt:
            raise invalid(f"{spec.name} draws pictures from noise and takes no prompt", prompt, "Leave it out.")
        return generate_images(found, IMAGES if count is None else count, seed)
    if spec.task != "text_generation":
        works = "Models for text_generation and image_generation do (zoo.list_models(task=...))."
        raise invalid(f"{spec.name} is for {spec.task.replace('_', ' ')} and makes nothing up", works=works)
    if count is not None:
        raise invalid("`count` is for models that draw pictures", count, "For other texts pass another seed.")
    _check(prompt, length, temperature, top_k, seed)
    return _written(Reader(found), prompt, length, temperature, top_k, np.random.default_rng(seed))


def _check(prompt, length, temperature, top_k, seed):
    if not isinstance(prompt, str):
        raise invalid("`prompt` must be a text", prompt)
    positive(length=length)
    if top_k is not None:
        positive(top_k=top_k)
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 <= temperature < np.inf:
        raise invalid("`temperature` must be a number of at least 0", temperature, "1.0 draws as the model says.")
    if type(seed) is not int or seed < 0:
        raise invalid("`seed` must be a whole number that is not negative", seed)


class Reader:
    """A language model that reads one text, word by word, and says after each how probable every next word is.

    Args:
        model: a language model that zoo built, with its vocabulary, as a loaded one has it. It is not changed.

    Raises:
        InvalidArgument: the model has no vocabulary.
    """

    def __init__(self, model):
        spec = spec_of(model)
        self.declared = spec.preprocessing
        if not self.declared or "end" not in self.declared:
            works = "Give a trained one: a run folder, a reference, or what zoo.load returned."
            raise invalid(f"{spec.name} has no vocabulary of running text", works=works)
        self.ids = preprocessing.word_ids(self.declared, assets_of(model))
        self.words = tuple(self.ids)
        self.end = self.ids[self.declared["end"]]
        self._model = carrying(twin(model, batch_size=1, sequence_length=1))

    def begin(self, text=""):
        """Forgets everything and reads a text from its beginning.

        Returns:
            The log-probabilities of the next word, float64 (V,).
        """
        reset_states(self._model)
        found = self.read(self.end)  # what stands before every text
        for word in preprocessing.tokens(text, self.declared):
            found = self.read(self.ids.get(word, preprocessing.UNKNOWN))
        return found

    def read(self, number):
        """Reads one more word, given by its id. Returns the log-probabilities of the next, float64 (V,)."""
        (logits,) = outputs_of(self._model, np.array([[number]], np.int32)).values()
        return log_probabilities(logits[0, 0])


def _written(reader, prompt, length, temperature, top_k, random):
    """Returns the prompt and the words that are drawn after it."""
    log_p, added = reader.begin(prompt), []
    while len(added) < length:
        number = draw(log_p, temperature, top_k, random)
        if number == reader.end:
            break
        added.append(reader.words[number])
        log_p = reader.read(number)
    return joined(added, prompt)


def draw(log_p, temperature, top_k, random):
    """Draws the id of a word, never that of padding or of an unknown word.

    Args:
        log_p: log-probabilities (V,).
        temperature, top_k: as for `generate`.
        random: `numpy.random.Generator`, of which one number is used.
    """
    log_p = np.array(log_p, np.float64)
    log_p[[preprocessing.PADDING, preprocessing.UNKNOWN]] = -np.inf
    order = np.argsort(-log_p, kind="stable")[: top_k if temperature else 1]
    scaled = log_p[order] / (temperature or 1.0)
    shares = np.cumsum(np.exp(scaled - scaled[0]))
    return int(order[min(np.searchsorted(shares, random.random() * shares[-1], side="right"), len(order) - 1)])


def joined(words, prompt=""):
    """Returns words and marks as a text after a prompt, spaced as one writes them."""
    text, opened = prompt, prompt.count('"') % 2 == 1
    for word in words:
        closes = word == '"' and opened
        close_up = not text or text[-1].isspace() or text[-1] in _AFTER or word in _BEFORE or closes
        close_up = close_up or (text[-1] == '"' and opened)
        text += word if close_up else f" {word}"
        opened ^= word == '"'
    return text

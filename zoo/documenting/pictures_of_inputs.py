"""Pictures of tricks that change what a network is shown, or what it may lean on: noise, masks, words, examples."""

import keras
import numpy as np
from keras import ops

from zoo import recipes
from zoo.augmentation import applied
from zoo.documenting.drawing import LENGTH, digit_net, digits, fitted, legend, text_net, texts, tidy
from zoo.objectives import value_and_gradients

SENTENCE = ["a", "slow", "film", "that", "I", "would", "gladly", "see", "again", "on", "any", "evening"]
RADII = np.linspace(0, 1.5, 16)


def dropped_words(figure):
    """A text as four epochs of training see it."""
    import tensorflow as tf

    axes = figure.subplots()
    functions = recipes.recipe("word_dropout(rate=0.2)").plan(text_net()).augment
    tokens = tf.constant([range(10, 10 + LENGTH)])
    rows = [applied(functions, tokens, tf.constant([0]), tf.constant([[epoch, 3]]))[0] for epoch in range(4)]
    known = np.array([np.asarray(row)[0] >= 10 for row in rows])
    axes.imshow(known, cmap="Blues", vmin=0, vmax=3, aspect="auto")
    for row, column in np.ndindex(known.shape):
        word = SENTENCE[column] if known[row, column] else "?"
        axes.text(column, row, word, ha="center", va="center", fontsize=6)
    axes.set(xticks=[], yticks=range(4), ylabel="epoch")
    axes.set_title("word_dropout(rate=0.2): ? is the unknown word", fontsize=8)


def noise(figure):
    """A digit, under Gaussian noise as the generator begins with, and under that of a trained generator."""
    x, y = digits()
    recipe = "ant(epsilon=0.3,low=0.0,high=1.0)+adam(learning_rate=0.01)"
    found = []

    def look(model):
        from zoo.tricks.ant import of_size

        keras.utils.set_random_seed(7)
        generator = next(e for e in model.plan.extras if e.name == "noise_generator")
        drawn = keras.random.normal((400, 8, 8, 1), seed=5)
        found.append(ops.convert_to_numpy(of_size(generator(drawn), 0.3)))

    fitted(digit_net, recipe, x, y, epochs=15, each=look)
    places = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.7))
    shown = (x[3], np.clip(x[3] + found[0][1], 0, 1), np.clip(x[3] + found[-1][1], 0, 1))
    for place, image, title in zip(places, shown, ("clean", "at the start", "after 15 epochs"), strict=False):
        place.imshow(image[..., 0], cmap="Greys", vmin=0, vmax=1)
        place.axis("off")
        place.set_title(title, fontsize=8)
    bins = np.linspace(-1, 1, 61)
    for values, label in ((found[0], "at the start"), (found[-1], "after 15 epochs")):
        places[3].hist(values.ravel(), bins, density=True, histtype="step", label=label)
    tidy(places[3], "noise on a pixel", "density")
    places[3].set_ylim(0, 3.2)
    legend(places[3], loc="upper right")


def leaning(figure):
    """Which pixels the answer depends on when one corner betrays it, without the prior and with it."""
    x, y = digits()
    x = x.copy()
    x[:, 0, 0, 0] = y / 9  # the corner says the digit
    mask = tuple(tuple(int(row == column == 0) for column in range(8)) for row in range(8))
    places = figure.subplots(1, 2)
    texts_ = ("adam(learning_rate=0.01)", f"prior(mask={mask},weight=0.03)+adam(learning_rate=0.01)")
    maps = [_dependence(fitted(digit_net, text, x, y, epochs=30), x) for text in texts_]
    for place, found, title in zip(places, maps, ("without", "prior, its mask on the corner"), strict=True):
        image = place.imshow(found, cmap="Reds", vmin=0, vmax=maps[0].max())
        place.set_title(title, fontsize=8)
        place.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=places, label="|d log p / dx|, mean")


def _dependence(model, x):
    from zoo.tricks.prior import sum_of_log_probabilities

    def at(values):
        return sum_of_log_probabilities("softmax", model(values[0]))

    _, (slopes,) = value_and_gradients(at, [ops.convert_to_tensor(x)])
    return np.abs(ops.convert_to_numpy(slopes))[..., 0].mean(0)


def steepness(figure):
    """How steep the loss is at digits that were not trained on over epochs, by the weight of the penalty."""
    from zoo.tricks.gradient_penalty import squared_slopes

    axes = figure.subplots()
    x, y = digits(1500)
    for weight in (None, 0.1, 1.0):
        text, found = "adam(learning_rate=0.01)", []
        text += f"+gradient_penalty(weight={weight})" if weight else ""

        def look(model, found=found):
            _, slopes = value_and_gradients(_loss(model, y[500:]), [ops.convert_to_tensor(x[500:])])
            found.append(float(squared_slopes(slopes)))

        fitted(digit_net, text, x[:500], y[:500], epochs=20, each=look)
        axes.plot(found, label=f"gradient_penalty(weight={weight:g})" if weight else "without")
    tidy(axes, "epoch", "squared slope of the loss")
    legend(axes)


def _classifier_of_texts():
    """Returns a trained text classifier, texts it has not seen, their kinds, and their embedded words."""
    x, y = texts(480)
    model = fitted(text_net, "adam(learning_rate=0.02)", x[:240], y[:240], epochs=12)
    embedded = model.get_layer("embedding")(x[240:])
    rest = keras.Model(model.layers[2].input, model.output)
    return rest, embedded, y[240:]


def _loss(rest, y):
    def at(values):
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, rest(values[0]), from_logits=True))

    return at


def worst_direction(figure):
    """The loss of texts whose embedded words are moved in the direction of fgm, and in a random one."""
    from zoo.tricks.fgm import l2_step

    axes = figure.subplots()
    rest, embedded, y = _classifier_of_texts()
    at = _loss(rest, y)
    _, (gradient,) = value_and_gradients(at, [embedded])
    directions = {"fgm": gradient, "a random direction": keras.random.normal(ops.shape(embedded), seed=1)}
    for label, direction in directions.items():
        axes.plot(RADII, [float(at([embedded + l2_step(direction, r)])) for r in RADII], label=label)
    tidy(axes, "epsilon, length of the move of a text", "loss")
    legend(axes)


def ascent(figure):
    """The loss of texts over the passes of free_lb, all within the same length, beside one step of fgm."""
    from zoo.tricks.fgm import l2_step
    from zoo.tricks.free_lb import FreeLBObjective, projected

    axes = figure.subplots()
    rest, embedded, y = _classifier_of_texts()
    at = _loss(rest, y)
    for steps in (2, 3, 5):
        objective = FreeLBObjective([], steps, 1.0, 1.0 / steps)
        keras.utils.set_random_seed(0)
        offset, losses = objective._start(embedded), []
        for _ in range(steps):
            loss, (gradient,) = value_and_gradients(at, [embedded + offset])
            losses.append(float(loss))
            offset = projected(offset + l2_step(gradient, objective.step_size), objective.epsilon)
        axes.plot(range(1, steps + 1), losses, marker="o", label=f"free_lb(steps={steps})")
    plain, (gradient,) = value_and_gradients(at, [embedded])
    axes.axhline(float(at([embedded + l2_step(gradient, 1.0)])), color="grey", linestyle="--", label="fgm")
    axes.axhline(float(plain), color="grey", linestyle=":", label="unmoved")
    axes.set_xticks(range(1, 6))
    tidy(axes, "pass", "loss, epsilon=1")
    legend(axes, loc="upper left", bbox_to_anchor=(0, 0.93))


def hardness(figure):
    """How hard the training digits are by EL2N, the half that is kept, and some from both ends."""
    from zoo.scoring import chosen, error_lengths
    from zoo.scoring import hardness as by_score

    x, y = digits()
    lengths = []
    look = lambda m: lengths.append(error_lengths(ops.convert_to_numpy(m(x)), y))  # noqa: E731
    fitted(digit_net, "adam(learning_rate=0.01)", x, y, epochs=2, each=look)
    hard = by_score(None, lengths[1:], "el2n")
    kept = chosen(hard, y, 0.5)
    order = np.argsort(hard)
    parts = figure.subfigures(1, 2, width_ratios=(2, 1))
    axes = parts[0].subplots()
    bins = np.linspace(0, hard.max(), 40)
    axes.hist([hard[kept], np.delete(hard, kept)], bins, stacked=True, label=["kept, fraction=0.5", "left out"])
    tidy(axes, "EL2N after two epochs", "digits")
    legend(axes)
    for row, (title, rows) in enumerate((("hardest", order[::-1][:3]), ("easiest", order[:3]))):
        for column, index in enumerate(rows):
            place = parts[1].add_subplot(2, 3, 3 * row + column + 1)
            place.imshow(x[index, ..., 0], cmap="Greys")
            place.set(xticks=[], yticks=[])
            place.set_title(f"{title}\n{y[index]}" if column == 1 else f"\n{y[index]}", fontsize=7)


DRAWERS = {
    "word_dropout": dropped_words,
    "ant": noise,
    "prior": leaning,
    "gradient_penalty": steepness,
    "fgm": worst_direction,
    "free_lb": ascent,
    "support_vectors": hardness,
}
WIDE = {"ant": (7.2, 1.9)}  # inches, of pictures that are not 4.8 by 2.7

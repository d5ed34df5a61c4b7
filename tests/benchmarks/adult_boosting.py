"""Adult: gradient boosting on the very split, inputs and targets of recipes multihead_adult and wide_deep_adult.

    python tests/benchmarks/adult_boosting.py

fits scikit-learn's histogram gradient boosting, lets the validation part choose how many trees there are, and prints
the figures of the test part: income, gender and age from `adult_people`, income from `adult`.
"""

import argparse
import itertools

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from zoo.data import load


def parts(data):
    """Returns (x, y) of the training, validation and test part; x (n, F) float32, dicts of inputs side by side."""
    made = []
    for split in (data.train, data.validation, data.test):
        x, y = split.batch(np.arange(len(split)))
        if isinstance(x, dict):  # "wide" repeats the categories and crosses them, which trees do by themselves
            x = np.concatenate([x["numbers"], x["categories"].astype(np.float32)], axis=1)
        made.append((x, y))
    return made


def boosted(kind, split, target, wrong, trees, seed):
    """Returns `(trees, figure on validation, figure on test)` of the number of trees that errs least on validation.

    Args:
        kind: class of scikit-learn's estimator.
        split: what `parts` returns.
        target: function from a part's y to what is estimated, (n,).
        wrong: function `(estimated, real) -> error`, for which less is better.
        trees: most trees, each with one step of learning rate 0.1.
        seed: of the estimator.
    """
    train, validation, test = ((x, target(y)) for x, y in split)
    model = kind(max_iter=trees, early_stopping=False, random_state=seed).fit(*train)
    errors = [wrong(guess, validation[1]) for guess in model.staged_predict(validation[0])]
    best = int(np.argmin(errors))
    guess = next(itertools.islice(model.staged_predict(test[0]), best, None))
    return best + 1, errors[best], wrong(guess, test[1])


def share_wrong(guess, real):
    return float(np.mean(guess != real))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    people = load("adult_people")
    split, scale = parts(people), people.labels["age"]["std"]
    for name in ("income", "gender"):
        chosen, *errors = boosted(
            HistGradientBoostingClassifier, split, lambda y, n=name: y[n], share_wrong, given.trees, given.seed
        )
        print(f"adult_people {name} accuracy: validation {1 - errors[0]:.5f}, test {1 - errors[1]:.5f}, {chosen} trees")

    def years(guess, real):
        return float(np.abs(guess - real).mean() * scale)

    for loss in ("squared_error", "absolute_error"):
        chosen, *errors = boosted(
            lambda loss=loss, **options: HistGradientBoostingRegressor(loss=loss, **options),
            *(split, lambda y: y["age"][:, 0], years, given.trees, given.seed),
        )
        print(f"adult_people age MAE, {loss}: validation {errors[0]:.5f}, test {errors[1]:.5f} years, {chosen} trees")
    chosen, *errors = boosted(
        HistGradientBoostingClassifier, parts(load("adult")), lambda y: y, share_wrong, given.trees, given.seed
    )
    print(f"adult income accuracy: validation {1 - errors[0]:.5f}, test {1 - errors[1]:.5f}, {chosen} trees")


if __name__ == "__main__":
    main()

"""What one recorded recipe gains over another on the test part, paired by seed.

    python tests/benchmarks/paired_recipes.py lstm_fgm_imdb lstm_imdb

reads the two records, trains nothing, and prints each seed's accuracies, and the mean difference with its confidence
interval, p value and verdict by `zoo.paired`.
"""

import argparse

from zoo.errors import invalid
from zoo.paired import paired, verdict
from zoo.recorded import figures_of, recorded_recipe


def compared(with_change, without, *, figure="accuracy", examples=25_000):
    """Returns `(values, Difference, verdict)` of two recorded recipes.

    Args:
        with_change, without: names of recipes, or paths of `.toml` files.
        figure: of the test part, a share of right answers.
        examples: in the test part; a share comes in steps of 1/examples.

    Raises:
        InvalidArgument: a recipe has no record, or they are of other data or seeds.
    """
    first, second = recorded_recipe(with_change), recorded_recipe(without)
    for name, of in (("seeds", lambda r: r.seeds), ("data", lambda r: r.result.get("fingerprint"))):
        if of(first) != of(second):
            works = "Record both with the same."
            raise invalid(
                f"recipes {first.name!r} and {second.name!r} differ in {name}", (of(first), of(second)), works
            )
    values = [figures_of(row.result, "test")[figure] for row in (first, second)]
    found = paired(*values, resolution=1 / examples)
    return values, found, verdict(found, found.p)


def main():
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("with_change", help="recipe with the change, such as lstm_fgm_imdb")
    parser.add_argument("without", help="recipe without it, such as lstm_imdb")
    parser.add_argument("--examples", type=int, default=25_000, help="in the test part (default: %(default)s)")
    given = parser.parse_args()
    values, found, said = compared(given.with_change, given.without, examples=given.examples)
    for name, row in zip((given.with_change, given.without), values, strict=True):
        print(f"{name}: {', '.join(f'{v:.2%}' for v in row)}")
    each = ", ".join(f"{100 * d:+.2f}" for d in found.each)
    ends = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    print(f"difference {100 * found.mean:+.2f} points ({each}), 95% interval {ends}, two-sided p {found.p:.2g}: {said}")


if __name__ == "__main__":
    main()

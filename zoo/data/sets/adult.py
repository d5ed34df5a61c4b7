"""Adult: 32,561 people of the United States census of 1994, their work, schooling, family and income.

Only the training part of the original is used, as its test part came apart from it: 6,512 rows are held out for test
and 3,256 for validation, always the same, stratified by income.

`adult` asks whether a person earns more than 50,000 dollars. `adult_people` asks for the age, income group and gender
from the other columns, and leaves `relationship` out, as "Husband" and "Wife" would tell the gender; an option keeps
it. `fnlwgt` is no property of a person but their weight in the sample, and `education` repeats `education_num` in
words: the first is left out of both, the words are kept as a category. "?" stands for what is not known, and is a
category like the others.

Read from the folder `ZOO_DATA` (`adult.data`, or `adult.csv.gz` with a header line), from the cache, or from UCI.
"""

import csv
import gzip
import zlib

from zoo.cache import Remote, locate
from zoo.data.catalog import dataset
from zoo.errors import DataError, worded

REMOTE = Remote(
    file="adult.data",
    url="https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data",
    size=3_974_305,
    sha256="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
)
SOURCE = (
    "Adult (Census Income), training part. B. Becker and R. Kohavi, 1996, UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C5XW20. CC BY 4.0."
)
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
)
NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
CATEGORIES = (
    *("workclass", "education", "marital_status", "occupation", "relationship"),
    *("race", "sex", "native_country"),
)
INCOMES, GENDERS = ("<=50K", ">50K"), ("Female", "Male")
ROWS, TEST, VALIDATION = 32_561, 6_512, 3_256
GROUPS = {
    "age_group": "age",
    "hours_group": "hours_per_week",
    "gain_group": "capital_gain",
    "loss_group": "capital_loss",
}
CROSSES = {
    "education_occupation": ["education", "occupation"],
    "country_occupation": ["native_country", "occupation"],
    "age_education_occupation": ["age_group", "education", "occupation"],
    "marital_age_occupation": ["marital_status", "age_group", "occupation"],
}


@dataset("adult", task="tabular_classification")
def adult(*, quantiles: int = 100, buckets: int = 1000):
    """32,561 people of a census, earning up to 50,000 dollars a year or more.

    Args:
        quantiles: steps of a number's distribution function, which brings it to 0 to 1.
        buckets: of each crossed column.
    """
    import numpy as np

    from zoo.data import tables

    columns = _columns()
    types = {name: {"type": "quantile", "quantiles": quantiles} for name in NUMBERS}
    types |= dict.fromkeys(CATEGORIES, "category")
    income = _numbered(columns["income"], INCOMES)
    parts = _parts(income)
    training = _rows(columns, parts["train"])
    types |= {group: {"type": "bucket", "from": name, **_steps(training[name])} for group, name in GROUPS.items()}
    types |= {name: {"type": "crossed", "of": of, "buckets": buckets} for name, of in CROSSES.items()}
    outputs = {
        "wide": {"form": "indices", "columns": [*CATEGORIES, *GROUPS, *CROSSES]},
        "categories": {"form": "indices", "columns": [*CATEGORIES, *GROUPS]},
        "numbers": {"form": "matrix", "columns": list(NUMBERS)},
    }
    declared = tables.declare(training, types, outputs)
    sizes = tables.sizes(declared)
    arguments = {
        "wide_columns": sizes["wide"][0],
        "wide_size": sizes["wide"][1],
        "category_columns": sizes["categories"][0],
        "category_size": sizes["categories"][1],
        "number_columns": sizes["numbers"][1],
        "num_classes": len(INCOMES),
    }
    x = tables.encode_columns(declared, columns)
    y = np.array(income, np.int32)
    return _dataset("adult", "tabular_classification", INCOMES, declared, x, y, parts, arguments)


@dataset("adult_people", task="attribute_prediction")
def adult_people(*, relationship: bool = False):
    """The same people; age, income and gender from the other columns.

    Args:
        relationship: whether that column stays, of which two words tell the gender.
    """
    import numpy as np

    from zoo.data import tables

    columns = _columns()
    dropped = {"age", "sex", "relationship"} - ({"relationship"} if relationship else set())
    types = {name: {"type": "quantile", "quantiles": 100} for name in NUMBERS if name not in dropped}
    types |= {name: "category" for name in CATEGORIES if name not in dropped}
    parts = _parts(_numbered(columns["income"], INCOMES))
    training = _rows(columns, parts["train"])
    groups = {group: name for group, name in GROUPS.items() if name not in dropped}
    types |= {group: {"type": "bucket", "from": name, **_steps(training[name])} for group, name in groups.items()}
    declared = tables.declare(training, types)
    years = np.array(columns["age"], np.float64)
    mean, std = float(years[parts["train"]].mean()), float(years[parts["train"]].std())
    y = {
        "age": ((years - mean) / std).astype(np.float32)[:, np.newaxis],
        "income": np.array(_numbered(columns["income"], INCOMES), np.int32),
        "gender": np.array(_numbered(columns["sex"], GENDERS), np.int32),
    }
    labels = {"age": {"mean": mean, "std": std, "unit": "years"}, "income": INCOMES, "gender": GENDERS}
    x = tables.encode_columns(declared, columns)
    arguments = {"num_features": x.shape[1], "num_groups": len(INCOMES)}
    return _dataset("adult_people", "attribute_prediction", labels, declared, x, y, parts, arguments)


def _dataset(name, task, labels, declared, x, y, parts, arguments):
    from zoo.data.base import Dataset, TreeSplit

    splits = {part: TreeSplit(x, y, rows, declared) for part, rows in parts.items()}
    return Dataset(name, task, labels, declared, **splits, source=SOURCE, arguments_given=arguments)


def _columns():
    """Returns column name -> list of n values: numbers as floats, the others as strings, of which "?" is one."""
    path = locate(("adult.data", "adult.csv.gz"), REMOTE, "Adult")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(worded(f"{path} cannot be read ({error})", works="Delete it to get it anew.")) from error
    if rows and rows[0][0] == "age":
        rows = rows[1:]
    if len(rows) != ROWS or any(len(row) != len(COLUMNS) for row in rows):
        works = f"It has {ROWS:,} rows of {len(COLUMNS)} columns. Is it the test part?"
        raise DataError(worded(f"{path} is not the training part of Adult", received=len(rows), works=works))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    try:
        return columns | {name: [float(v) for v in columns[name]] for name in NUMBERS}
    except ValueError as error:
        raise DataError(worded(f"{path} is not Adult ({error})")) from error


def _steps(values, steps=20):
    """Returns the boundaries of equally full buckets of what is above 0: nine in ten have no capital gain or loss."""
    import numpy as np

    above = np.array([value for value in values if value > 0])
    return {"boundaries": np.unique(np.quantile(above, np.arange(steps) / steps)).tolist()}


def _numbered(values, names):
    try:
        return [names.index(value) for value in values]
    except ValueError as error:
        raise DataError(worded(f"Adult holds a class that it should not ({error})", works=f"Known: {names}.")) from None


def _parts(income):
    """Returns part -> rows, the same for every question."""
    import numpy as np

    from zoo.data.base import held_out

    income = np.asarray(income)
    rest, test = held_out(income, TEST)
    train, validation = held_out(income[rest], VALIDATION)
    return {"train": rest[train], "validation": rest[validation], "test": test}


def _rows(columns, rows):
    return {name: [values[i] for i in rows] for name, values in columns.items()}

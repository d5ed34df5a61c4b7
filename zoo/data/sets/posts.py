"""Posts and their authors, from your own table: the text of a post, and its author's age, income and gender.

`zoo train multihead posts --data-option path=posts.csv`, or `zoo.train("multihead", "posts", data_options={...})`. The
table is `.csv` or `.tsv`, also `.gz`, UTF-8, with a header.
"""

import csv
import gzip
import itertools
import math
import zlib
from pathlib import Path

from zoo.data.catalog import dataset
from zoo.errors import DataError, invalid, worded


@dataset("posts", task="attribute_prediction")
def posts(
    *,
    path: str = "",
    text: str = "text",
    age: str = "age",
    income: str = "income",
    gender: str = "gender",
    income_groups: int | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    vocab_size: int = 50000,
    sequence_length: int = 500,
    keep: str = "first",
    like: dict | None = None,
):
    """Your own table of posts: age, income group and gender of who wrote them.

    Args:
        path: of the table.
        text, age, income, gender: names of its columns. Ages are numbers, genders two words.
        income_groups: None reads the income as the name of a group; a number reads it as a number and cuts the
            training part's incomes into so many groups of equal size.
        validation_share, test_share: shares of the posts that are held out, in proportion to gender.
        seed: of the choice.
        vocab_size: ids in use: 0 is padding, 1 an unknown word, the rest the most frequent training words.
        sequence_length: words of a post that are kept.
        keep: which words of a longer post are kept, "first" or "last".
        like: `declared` and `assets` of a trained model, used instead of these three; see `zoo.data.load_like`.

    Raises:
        InvalidArgument: an option cannot be; `path` is always needed.
        DataError: the table cannot be read, a column is missing, or a value is; the message gives the line.
    """
    import numpy as np

    from zoo.data import preprocessing
    from zoo.data.base import Dataset, TreeSplit, held_out
    from zoo.data.files import check_text_options

    check_text_options(vocab_size, sequence_length, keep)
    if not path:
        raise invalid(
            "data set 'posts' needs the `path` of a table", path, 'Such as data_options={"path": "posts.csv"}.'
        )
    if income_groups is not None and income_groups < 2:
        raise invalid("`income_groups` must be at least 2, or None", income_groups)
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise invalid(f"`{name}` must be strictly between 0 and 1", share)
    path = Path(path).expanduser()
    texts, ages, incomes, genders = _columns(path, (text, age, income, gender))
    ages = _numbers(path, age, ages)
    genders, gender_names = _numbered(genders)
    if len(gender_names) != 2:
        works = "The head for gender tells two apart."
        raise DataError(
            worded(f"column {gender!r} of {path.name} must hold two words", received=gender_names[:9], works=works)
        )
    rest, test = held_out(genders, max(1, round(len(texts) * test_share)), seed)
    train, validation = held_out(genders[rest], max(1, round(len(texts) * validation_share)), seed)
    parts = {"train": rest[train], "validation": rest[validation], "test": test}
    if income_groups is None:
        incomes, income_names = _numbered(incomes)
        _every_group(path, income, incomes[parts["train"]], income_names)
    else:
        incomes, income_names = _grouped(path, income, _numbers(path, income, incomes), parts["train"], income_groups)
    declared = like["declared"] if like else preprocessing.text_declaration(sequence_length, vocab_size, keep=keep)
    words = [preprocessing.tokens(post, declared) for post in texts]
    if like:
        assets = like["assets"]
    else:
        vocabulary = preprocessing.build_vocabulary((words[i] for i in parts["train"]), vocab_size)
        declared["vocab_size"] = len(vocabulary)
        assets = {preprocessing.VOCABULARY: preprocessing.vocabulary_asset(vocabulary)}
    x = preprocessing.encode_texts(declared, words, preprocessing.word_ids(declared, assets))
    mean, std = float(ages[parts["train"]].mean()), float(ages[parts["train"]].std()) or 1.0
    y = {"age": ((ages - mean) / std).astype(np.float32)[:, np.newaxis], "income": incomes, "gender": genders}
    labels = {"age": {"mean": mean, "std": std, "unit": "years"}, "income": income_names, "gender": gender_names}
    sizes = {key: declared[key] for key in ("vocab_size", "sequence_length")}
    return Dataset(
        name=path.name,
        task="attribute_prediction",
        labels=labels,
        preprocessing=declared,
        **{part: TreeSplit(x, y, rows, declared) for part, rows in parts.items()},
        source=f"Table {path.name!r}: {len(texts):,} posts given by the user.",
        assets=assets,
        arguments_given={**sizes, "num_groups": len(income_names)},
    )


def _columns(path, names):
    """Returns the named columns of a table, each a list of strings; nothing in them is empty."""
    if not path.is_file():
        raise DataError(worded("no such file", received=str(path)))
    opener = gzip.open if path.name.endswith(".gz") else open
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if ".tsv" in path.suffixes else {"strict": True}
    rows = []
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, **style)
            header = list(reader.fieldnames or ())
            for name in names:
                if name not in header:
                    works = f"Columns: {', '.join(header)}; choose with text=..., age=..., income=..., gender=..."
                    wrong = f"{path.name} has no column {name!r}"
                    raise DataError(worded(wrong, name=name, known=header, works=works))
            for row in reader:
                values = [(row[name] or "").strip() for name in names]
                if "" in values or None in row:
                    lacking = (
                        f"column {names[values.index('')]!r} is empty" if "" in values else "there are more fields"
                    )
                    works = "Remove or complete the row, and quote fields that hold commas."
                    raise DataError(worded(f"{path.name}, line {reader.line_num}: {lacking}", works=works))
                rows.append(values)
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise DataError(worded(f"{path.name} cannot be read ({error})", works="Save it as UTF-8 CSV.")) from error
    if len(rows) < 3:
        raise DataError(
            worded(f"{path.name} needs at least three posts: to train, to validate, to test", received=len(rows))
        )
    return zip(*rows, strict=True)


def _numbers(path, name, values):
    import numpy as np

    found = np.empty(len(values))
    for i, value in enumerate(values):
        try:
            found[i] = float(value)
        except ValueError:
            found[i] = math.nan
        if not math.isfinite(found[i]):
            works = "income_groups=None takes names of groups." if name == "income" else None
            raise DataError(
                worded(f"{path.name}: column {name!r} of post {i} is not a number", received=value, works=works)
            )
    return found


def _numbered(values):
    """Returns class numbers int32 (n,) and the names of the classes, sorted."""
    import numpy as np

    names, numbers = np.unique(np.array(values), return_inverse=True)
    return numbers.astype(np.int32), tuple(map(str, names))


def _grouped(path, name, values, train, groups):
    import numpy as np

    limits = np.unique(np.quantile(values[train], np.arange(1, groups) / groups))
    limits = limits[limits > values[train].min()]  # else nobody would be under the first
    if len(limits) < groups - 1:
        wrong = f"column {name!r} of {path.name} has too few different incomes for {groups} groups"
        raise DataError(worded(wrong, works=f"income_groups={len(limits) + 1} can be." if len(limits) else None))
    shown = [f"{limit:,.6g}" for limit in limits]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    found = np.searchsorted(limits, values, side="right").astype(np.int32)
    names = (f"under {shown[0]}", *between, f"{shown[-1]} or more")
    _every_group(path, name, found[train], names)
    return found, names


def _every_group(path, name, found, names):
    lacking = [n for i, n in enumerate(names) if i not in set(found.tolist())]
    if lacking or len(names) < 2:
        wrong = f"column {name!r} of {path.name} needs at least two groups, each with posts to train on"
        raise DataError(worded(wrong, received=lacking or names))

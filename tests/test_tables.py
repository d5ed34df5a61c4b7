"""Tables: declared from columns, encoded as `keras.utils.FeatureSpace` does, checked as what may be downloaded."""

import copy
import hashlib
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from zoo.data import columns, preprocessing, tables
from zoo.errors import DataError, InvalidArgument, UnknownName

PEOPLE = {
    "age": [20, "30", 40.0, None, 50],
    "job": ["nurse", "clerk", " nurse ", "", "clerk"],
    "town": ["A", "B", "C", "A", "A"],
}
TYPES = {
    "age": "number",
    "share": {"type": "quantile", "from": "age", "boundaries": [25, 25, 45]},
    "decade": {"type": "bucket", "from": "age", "boundaries": [30, 40]},
    "job": {"type": "category", "missing": "none"},
    "town": {"type": "hashed", "buckets": 5},
    "job_town": {"type": "crossed", "of": ["job", "town", "decade"], "buckets": 1000},
}
OUTPUTS = {
    "numbers": {"form": "matrix", "columns": ["age", "share"]},
    "ids": {"form": "indices", "columns": ["decade", "job", "town", "job_town"]},
}


def declared(outputs=None):
    return tables.declare(PEOPLE, TYPES, outputs)


def rows():
    return [dict(zip(PEOPLE, values, strict=True)) for values in zip(*PEOPLE.values(), strict=True)]


# Values


def test_columns_become_what_the_declaration_says():
    found = tables.encode(declared(OUTPUTS), rows())
    age = np.array([20, 30, 40, 35, 50])  # the one that is missing is the mean of the others
    np.testing.assert_allclose(found["numbers"][:, 0], (age - 35) / np.std([20, 30, 40, 50]), rtol=1e-6)
    np.testing.assert_allclose(found["numbers"][:, 1], [0, 2 / 3, 2 / 3, 2 / 3, 1], rtol=1e-6)
    assert found["numbers"].dtype == np.float32
    assert found["ids"].dtype == np.int32
    assert found["ids"][:, 0].tolist() == [0, 1, 2, 1, 2]
    assert (found["ids"][:, 1] - 3).tolist() == [2, 1, 2, 3, 1]  # by frequency, then alphabet: clerk, nurse, none
    assert ((found["ids"][:, 2] >= 7) & (found["ids"][:, 2] < 12)).all()
    assert found["ids"][:, 3].min() >= 12
    assert tables.sizes(declared(OUTPUTS)) == {"numbers": (2, 2), "ids": (4, 3 + 4 + 5 + 1000)}


def test_one_matrix_holds_numbers_and_one_hot_vectors():
    x = tables.encode(declared(), rows())
    ids = tables.encode(declared(OUTPUTS), rows())["ids"]
    assert x.shape == (5, 2 + 1012)
    for row, places in zip(x, ids, strict=True):
        assert np.flatnonzero(row[2:]).tolist() == places.tolist()


def test_one_row_is_read_as_many_are():
    many = tables.encode(declared(), rows())
    for i, row in enumerate(rows()):
        np.testing.assert_array_equal(tables.encode(declared(), row), many[i : i + 1])


def test_an_unknown_word_is_category_0_and_other_columns_do_not_matter():
    found = tables.encode(declared(OUTPUTS), {"age": 20, "job": "pilot", "town": "Z", "shoes": 44})
    assert found["ids"][0, 1] == 3


def test_hashes_are_the_same_on_every_machine():
    """Spelt out here, as a change would silently break every stored model."""
    keys = [("A",), ("Ünder",), ("ab", "c"), ("a", "bc"), ("1", 2)]
    spelt = ["1:A", "5:Ünder", "2:ab1:c", "1:a2:bc", "1:11:2"]
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in spelt]
    expected = [int.from_bytes(digest, "little") % 10**6 for digest in digests]
    assert tables._hashed(keys, 10**6).tolist() == expected
    assert len(set(expected)) == 5


def test_a_declaration_survives_json_and_preprocessing_reads_it():
    again = json.loads(json.dumps(declared(OUTPUTS)))
    assert again == declared(OUTPUTS)
    for name, array in preprocessing.encode(again, rows()).items():
        np.testing.assert_array_equal(array, tables.encode(declared(OUTPUTS), rows())[name])


def test_a_constant_column_stays_small():
    found = tables.declare({"x": [3, 3, 3]}, {"x": "number"})
    assert tables.encode(found, [{"x": 3}, {"x": 4}]).tolist() == [[0], [1]]


def test_equally_full_buckets():
    values = np.random.default_rng(0).exponential(size=1000).tolist()
    found = tables.declare({"x": values}, {"x": {"type": "bucket", "buckets": 4}})
    assert tables.encode_columns(found, {"x": values}).sum(axis=0).tolist() == [250] * 4


# Against keras.utils.FeatureSpace


@pytest.mark.data
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="FeatureSpace takes TensorFlow along, 15 s of it")
def test_encodes_as_feature_space(zoo_data):
    """Each learns its statistics by itself; hashes differ, but put the same rows together."""
    import tensorflow as tf

    from zoo.data.sets.adult import _columns

    found = _columns()  # all of it, so that no two words are equally frequent: there the orders differ
    space = keras.utils.FeatureSpace
    features = {
        "hours_per_week": space.float_normalized(),
        "age": space.float_discretized(num_bins=5, output_mode="one_hot"),
        "education": space.string_categorical(),
        "occupation": space.string_categorical(),
        "native_country": space.string_hashed(num_bins=1 << 16, output_mode="int"),
    }
    crosses = [space.cross(("education", "occupation"), crossing_dim=1 << 18, output_mode="int")]
    theirs = space(features, output_mode="dict", crosses=crosses)
    raw = {name: np.array(found[name], "float32" if name in ("hours_per_week", "age") else None) for name in features}
    theirs.adapt(tf.data.Dataset.from_tensor_slices(raw).batch(4096))
    boundaries = [float(b) for b in theirs.preprocessors["age"].bin_boundaries]  # a sketch of the quantiles
    theirs = {name: keras.ops.convert_to_numpy(x) for name, x in theirs(raw).items()}
    types = {
        "hours_per_week": "number",
        "age": {"type": "bucket", "boundaries": boundaries},
        "education": "category",
        "occupation": "category",
        "native_country": {"type": "hashed", "buckets": 1 << 16},
        "education_X_occupation": {"type": "crossed", "of": ["education", "occupation"], "buckets": 1 << 18},
    }
    outputs = {n: {"form": "matrix", "columns": [n]} for n in ("hours_per_week", "age", "education", "occupation")}
    outputs |= {n: {"form": "indices", "columns": [n]} for n in ("native_country", "education_X_occupation")}
    ours = tables.encode_columns(tables.declare(found, types, outputs), found)
    np.testing.assert_allclose(ours["hours_per_week"], theirs["hours_per_week"], rtol=1e-4, atol=1e-5)
    for name in ("age", "education", "occupation"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    for name in ("native_country", "education_X_occupation"):
        pairs = {*zip(ours[name].ravel().tolist(), theirs[name].ravel().tolist(), strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 10


WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
from zoo.data import tables
found = tables.declare({"x": [1, 2]}, {"x": "number"})
print(tables.encode(found, {"x": 2}).tolist())
"""


def test_needs_neither_tensorflow_nor_keras():
    """FeatureSpace needs TensorFlow on every backend."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.stdout.split() == ["[[1.0]]"], done.stderr[-2000:]


# What cannot be read


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": float("nan")}, r"row 1: column 'age' is NaN or infinite.*Write None"),
        ({"age": "inf"}, "row 1: column 'age' is NaN or infinite"),
        ({"age": "old"}, "row 1: column 'age' is not a number.*'old'"),
        ({"age": 1e300}, "row 1: column 'age' is too large"),
        ({"age": 10**400}, "row 1: column 'age' is not a number"),
        ({"job": float("nan")}, "row 1: column 'job' is NaN"),
        ({"job": 1.5}, "row 1: column 'job' must be a word"),
        ({"job": ["nurse"]}, "row 1: column 'job' is not a word"),
        ({"job": ...}, "row 1 has no column 'job'. Did you mean 'jobb'"),
    ],
)
def test_wrong_rows(row, message):
    wrong = {**rows()[0], **row}
    if wrong["job"] is ...:
        wrong["jobb"] = wrong.pop("job")
    with pytest.raises(DataError, match=message):
        tables.encode(declared(), [rows()[0], wrong])


@pytest.mark.parametrize(
    ("raw", "message"), [([], "no row to read"), (["20"], "row 0 is not a row"), ([None], "row 0")]
)
def test_what_is_no_row(raw, message):
    with pytest.raises(DataError, match=message):
        tables.encode(declared(), raw)


def test_what_may_not_be_missing():
    strict = declared()
    strict["columns"][0]["missing"] = strict["columns"][3]["missing"] = None
    for row, name in (({"age": ""}, "age"), ({"job": None}, "job")):
        with pytest.raises(DataError, match=f"row 0: column '{name}' is missing"):
            tables.encode(strict, {**rows()[0], **row})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("columns",), [], "must list its `columns`"),
        (("columns",), {"age": 1}, "must list its `columns`"),
        (("columns", 0), "age", "a column of the table is not declared"),
        (("columns", 0, "type"), "numbers", "a column of the table is not declared"),
        (("columns", 0, "type"), ["number"], "a column of the table is not declared"),
        (("columns", 0, "name"), 3, "a column of the table is not declared"),
        (("columns", 0, "name"), "job", "a column is declared twice"),
        (("columns", 0, "std"), 0, "impossible 'std'"),
        (("columns", 0, "std"), float("nan"), "impossible 'std'"),
        (("columns", 0, "mean"), "10", "impossible 'mean'"),
        (("columns", 0, "mean"), 10**400, "impossible 'mean'"),
        (("columns", 0, "meann"), 1, "no setting of column 'age'.*Did you mean 'mean'"),
        (("columns", 0, "from"), 1, "impossible 'from'"),
        (("columns", 1, "boundaries"), [2, 1], "impossible 'boundaries'"),
        (("columns", 2, "boundaries"), [1, 1], "impossible 'boundaries'"),
        (("columns", 2, "boundaries"), [], "impossible 'boundaries'"),
        (("columns", 3, "values"), ["a", "a"], "impossible 'values'"),
        (("columns", 3, "values"), ["a", 1], "impossible 'values'"),
        (("columns", 3, "missing"), 1, "impossible 'missing'"),
        (("columns", 4, "buckets"), 0, "impossible 'buckets'"),
        (("columns", 4, "buckets"), True, "impossible 'buckets'"),
        (("columns", 4, "buckets"), 1 << 40, "impossible 'buckets'"),
        (("columns", 5, "of"), ["job"], "impossible 'of'"),
        (("columns", 5, "of"), ["job", "twon"], "no column to cross.*Did you mean 'town'"),
        (("columns", 5, "of"), ["job", "age"], "crosses a number"),
        (("columns", 5, "of"), ["job", "job_town"], "crosses a crossed"),
        (("outputs",), {}, "`outputs` of a table"),
        (("outputs", "ids"), None, "no form of output 'ids'"),
        (("outputs", "ids", "form"), "index", "no form of output 'ids'.*Did you mean 'indices'"),
        (("outputs", "ids", "columns"), [], "must list the names"),
        (("outputs", "ids", "columns"), ["jobs"], "Did you mean 'job'"),
        (("outputs", "ids", "columns"), ["age"], "wants the index of a number"),
    ],
)
def test_impossible_declarations(path, value, message):
    """A declaration may come from a download."""
    wrong = copy.deepcopy(declared(OUTPUTS))
    at = wrong
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(InvalidArgument, match=message):
        columns.check(wrong)
    with pytest.raises(InvalidArgument, match=message):
        preprocessing.encode(wrong, rows())


@pytest.mark.parametrize(
    ("types", "error", "message"),
    [
        ({"ages": "number"}, DataError, "no column 'ages'. Did you mean 'age'"),
        ({"age": "numbr"}, UnknownName, "no type of column 'age'.*Did you mean 'number'"),
        ({"job": "number"}, DataError, "row 0: column 'job' is not a number"),
        ({"age": {"type": "bucket", "buckets": 1}}, InvalidArgument, "number of quantiles or buckets"),
        ({"age": {"type": "number", "quantile": 3}}, UnknownName, "no setting of column 'age'"),
    ],
)
def test_wrong_types(types, error, message):
    with pytest.raises(error, match=message):
        tables.declare(PEOPLE, types)

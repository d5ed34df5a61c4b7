"""A plain text file, such as a book, as running text for a language model."""

import gzip
import zlib
from pathlib import Path

from zoo.data import preprocessing, streams
from zoo.errors import DataError, invalid, worded


def load_text(
    path,
    *,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    vocab_size: int = 10000,
    sequence_length: int = 35,
    paragraphs: bool = True,
    like: dict | None = None,
):
    """Loads a UTF-8 text file, `.txt` or `.txt.gz`, for a language model.

    Its first part is for training, the next for validation, the last for testing.

    Args:
        path: the file.
        validation_share, test_share: shares of all words that are held out.
        vocab_size: ids in use: 1 is an unknown word, 2 the end of a text, the rest the most frequent training words.
        sequence_length: words of a window.
        paragraphs: whether a blank line ends a text; otherwise only the file's end does.
        like: `declared` and `assets` of a trained model, used instead of these; see `zoo.data.load_like`.

    Raises:
        InvalidArgument: the shares leave nothing to train on.
        DataError: the file is not UTF-8, is damaged, or holds too few words.
    """
    path = Path(path)
    streams.check_stream_options(vocab_size, sequence_length)
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise invalid(
            "`validation_share` and `test_share` must be positive and together below 1", (validation_share, test_share)
        )
    given = streams.of_language_model(like)
    declared = given.get("declared") or streams.stream_declaration(sequence_length, vocab_size)
    text = _read(path)
    texts = text.replace("\r\n", "\n").split("\n\n") if paragraphs else [text]
    words = []
    for found in (preprocessing.tokens(t, declared) for t in texts):
        words += [*found, streams.END] if found else []
    held = [round(len(words) * share) for share in (validation_share, test_share)]
    cuts = len(words) - sum(held), len(words) - held[1]
    parts = {"train": words[: cuts[0]], "validation": words[cuts[0] : cuts[1]], "test": words[cuts[1] :]}
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    source = f"Text file {path.name!r}: {len(words):,} words."
    sizes = {"vocab_size": vocab_size, "sequence_length": sequence_length}
    return streams.stream_dataset(name, parts, **sizes, source=source, **given)


def _read(path):
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"{path.name} is not UTF-8 text, first at byte {error.start:,}"
        raise DataError(worded(wrong, works="Save the file as UTF-8.")) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(worded(f"{path.name} cannot be read ({error})")) from error

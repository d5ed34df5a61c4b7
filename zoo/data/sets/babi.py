"""bAbI: twenty toy tasks of questions about short stories, each of which tests one kind of reasoning.

Read from the folder `ZOO_DATA` (the official `tasks_1-20_v1-2.tar.gz`, or `babi_en-10k.tar.gz`, its folder `en-10k`
alone), from the cache, or from the authors. A question's story is every sentence told before it. An answer of several
words ("football,apple", "n,w") is one class, as in the literature.

The test part is the official one; a tenth of the training stories, with all their questions, is held out for
validation, because the questions about one story share its sentences. Words are counted on the rest. In the vocabulary
the answers come first, in the order of the labels, which `qa_memn2n` relies on; answers are the same lower-case words
as in the text.
"""

import re
import tarfile
import zlib

from zoo.cache import Remote, locate
from zoo.data.catalog import dataset
from zoo.errors import DataError, invalid, worded

REMOTE = Remote(
    file="tasks_1-20_v1-2.tar.gz",
    url="http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",
    size=15_719_851,
    sha256="0364ebde659f14d11bc21744516c5ec49d3d06cb692733f66680771244998898",
)
LARGE_ONLY = "babi_en-10k.tar.gz"
SOURCE = (
    "The bAbI tasks v1.2, English. J. Weston et al., Towards AI-complete question answering: a set of prerequisite toy "
    "tasks, 2015, https://arxiv.org/abs/1502.05698. Creative Commons Attribution 3.0."
)
FOLDERS = {"10k": "en-10k", "1k": "en"}  # training questions of each task -> folder
HELD_OUT = 0.1
_MEMBER = re.compile(r"(?:^|.*/)(en|en-10k)/qa(\d+)_[\w-]+_(train|test)\.txt$")


@dataset("babi", task="question_answering")
def babi(
    *,
    task: int = 1,
    size: str = "10k",
    supporting_only: bool = False,
    story_words: int = 128,
    story_sentences: int = 50,
    like: dict | None = None,
):
    """One of the twenty bAbI tasks: questions about short stories, answered by one of a few words.

    Args:
        task: its number, 1 to 20.
        size: training questions, "10k" or "1k".
        supporting_only: whether a story is cut down to the sentences that the answer follows from.
        story_words: words of a story that are kept, the latest, for models that read the story as one text.
        story_sentences: sentences that are kept, the latest, for models that look sentences up.
        like: `declared` and `assets` of a trained model, used instead of these two; see `zoo.data.load_like`.

    Raises:
        InvalidArgument: there is no such task or size.
        DataError: the archive lacks the task, or is damaged.
    """
    from zoo.data import passages, preprocessing
    from zoo.data.base import Dataset

    if not 1 <= task <= 20:
        raise invalid("`task` must be 1 to 20", task)
    if size not in FOLDERS:
        raise invalid("`size` must be '10k' or '1k'", size)
    for name, value in (("story_words", story_words), ("story_sentences", story_sentences)):
        if not 1 <= value <= 10_000:
            raise invalid(f"`{name}` must be 1 to 10,000", value)
    text = like["declared"] if like else preprocessing.text_declaration(1, 3)
    parts = {part: _examples(*lines, text, supporting_only) for part, lines in _lines(task, size).items()}
    labels = tuple(sorted({answer for examples in parts.values() for *_, answer in examples}))
    rows = _rows([number for number, *_ in parts["train"]])
    assets = like["assets"] if like else {preprocessing.VOCABULARY: _vocabulary(parts["train"], rows["train"], labels)}
    ids = preprocessing.word_ids(text, assets)
    sentences = {part: passages.sentence_ids([e[1] for e in examples], ids) for part, examples in parts.items()}
    if like:
        declared = text
    else:
        told = sentences["train"]
        declared = passages.declaration(
            "words",
            story_words=min(story_words, int((told != 0).sum(axis=(1, 2)).max())),
            story_sentences=min(story_sentences, told.shape[1]),
            sentence_length=told.shape[2],
            question_length=max(len(question) for _, _, question, _ in parts["train"]),
            vocab_size=len(ids),
        )
    splits = {}
    for part, examples in parts.items():
        questions = passages.question_ids(declared, [question for _, _, question, _ in examples], ids)
        answers = [labels.index(answer) for *_, answer in examples]
        splits[part] = passages.Passages(sentences[part], questions, answers, declared)
    return Dataset(
        name=f"babi{task}" if size == "10k" else f"babi{task}_{size}",
        task="question_answering",
        labels=labels,
        preprocessing=declared,
        train=splits["train"].subset(rows["train"]),
        validation=splits["train"].subset(rows["validation"]),
        test=splits["test"],
        source=f"{SOURCE} Task {task}, {size} training questions.",
        assets=assets,
        arguments_given=passages.arguments_of(declared, len(labels)),
    )


def _rows(stories):
    """Returns the rows of each part, given the number of the story that each training question belongs to."""
    import numpy as np

    stories = np.array(stories)
    count = stories[-1] + 1
    held = np.random.RandomState(0).permutation(count)[: max(1, round(count * HELD_OUT))]
    is_held = np.isin(stories, held)
    return {"train": np.flatnonzero(~is_held), "validation": np.flatnonzero(is_held)}


def _vocabulary(examples, rows, labels):
    from zoo.data import preprocessing

    told = []
    for i in rows:
        _, story, question, _ = examples[i]
        told += [*story, question]
    reserved, words = preprocessing.RESERVED, preprocessing.build_vocabulary(told, 1 << 20)
    rest = [word for word in words[len(reserved) :] if word not in labels]
    return preprocessing.vocabulary_asset((*reserved, *labels, *rest))


# The archive


def _lines(task, size):
    """Returns `(name, lines)` of the training and the test file of a task, by part."""
    names = (REMOTE.file, LARGE_ONLY) if size == "10k" else (REMOTE.file,)
    path = locate(names, REMOTE, "bAbI")
    found = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                at = _MEMBER.match(member.name)
                if member.isfile() and at and at[1] == FOLDERS[size] and int(at[2]) == task:
                    found[at[3]] = member.name, archive.extractfile(member).read().decode("utf-8").splitlines()
    except (OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        works = "Delete it to get it anew."
        raise DataError(worded(f"{path} is not a whole bAbI archive ({error})", works=works)) from error
    for part in ("train", "test"):
        if part not in found:
            works = "Choose another task."
            if path.name != REMOTE.file:
                works = f"Choose another task, or put {REMOTE.file} from {REMOTE.url} beside it, which has them all."
            raise DataError(worded(f"{path.name} lacks the {part} file of task {task}", works=works))
    return {part: found[part] for part in ("train", "test")}


def _examples(name, lines, declared, supporting_only):
    """Returns `(story number, list of sentences, question, answer)` of each question; texts are lists of words.

    A line is a number, which starts again at 1 with each story, and a sentence; or a question, its answer and the
    numbers of the sentences that it follows from, with tabs between them.
    """
    from zoo.data.preprocessing import tokens

    examples, told, story = [], {}, -1
    for at, line in enumerate(lines, start=1):
        number, _, content = line.partition(" ")
        fields = content.split("\t")
        if not number.isdecimal() or len(fields) not in (1, 3) or (story < 0 and number != "1"):
            raise DataError(worded(f"{name}, line {at}: neither a sentence nor a question", received=line[:80]))
        if number == "1":
            told, story = {}, story + 1
        if len(fields) == 1:
            told[number] = tokens(content, declared)
            continue
        question, answer, supports = fields
        kept = [s for n, s in told.items() if n in supports.split()] if supporting_only else list(told.values())
        examples.append((story, kept, tokens(question, declared), answer.strip().lower()))
    if not examples:
        raise DataError(worded(f"{name} holds no question"))
    return examples

"""bAbI: twenty toy tasks of questions about short stories, each of which tests one kind of reasoning, or all at once.

Read from the folder `ZOO_DATA` (the official `tasks_1-20_v1-2.tar.gz`, or `babi_en-10k.tar.gz`, its folder `en-10k`
alone), from the cache, or from the authors. A question's story is every sentence told before it. An answer of several
words ("football,apple", "n,w") is one class, as in the literature.

The test part is the official one; a tenth of the training stories, with all their questions, is held out for
validation, because the questions about one story share its sentences. Words are counted on the rest. In the vocabulary
the answers come first, in the order of the labels, which `qa_memn2n` relies on; answers are the same lower-case words
as in the text. With `task="all"` the tasks share one vocabulary and one set of answers, each has its own held-out
stories, and its questions are a group of every part, so that results are told by task too.
"""

import functools
import re
import tarfile
import warnings
import zlib

from zoo.cache import Remote, locate
from zoo.data.catalog import dataset
from zoo.errors import DataError, DataWarning, invalid, worded

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
TASKS = range(1, 21)
PARTS = ("train", "test")  # that the archive has files of
ALL = "all"
HELD_OUT = 0.1
_MEMBER = re.compile(r"(?:^|.*/)(en|en-10k)/qa(\d+)_[\w-]+_(train|test)\.txt$")


@dataset("babi", task="question_answering")
def babi(
    *,
    task: int | str = 1,
    size: str = "10k",
    supporting_only: bool = False,
    story_words: int = 128,
    story_sentences: int = 50,
    like: dict | None = None,
):
    """One of the twenty bAbI tasks, or all: questions about short stories, answered by one of a few words.

    Args:
        task: its number, 1 to 20, or "all" that the archive holds; of those it lacks a `DataWarning` tells.
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

    if task != ALL and task not in TASKS:
        raise invalid("`task` must be 1 to 20, or 'all'", task)
    if size not in FOLDERS:
        raise invalid("`size` must be '10k' or '1k'", size)
    limits = {"story_words": story_words, "story_sentences": story_sentences}
    for name, value in limits.items():
        if not 1 <= value <= 10_000:
            raise invalid(f"`{name}` must be 1 to 10,000", value)
    text = like["declared"] if like else preprocessing.text_declaration(1, 3)
    limits = [like["declared"][name] if like else value for name, value in limits.items()]
    parts, rows, tasks = {"train": [], "test": []}, {"train": [], "validation": []}, {"train": [], "test": []}
    for number, files in _lines(task, size).items():
        for part, lines in files.items():
            found = _examples(*lines, text, supporting_only)
            if part == "train":
                for name, chosen in _rows([story for story, *_ in found]).items():
                    rows[name] += [len(parts[part]) + i for i in chosen]
            parts[part] += found
            tasks[part] += [number] * len(found)
    labels = tuple(sorted({answer for examples in parts.values() for *_, answer in examples}))
    assets = like["assets"] if like else {preprocessing.VOCABULARY: _vocabulary(parts["train"], rows["train"], labels)}
    ids = preprocessing.word_ids(text, assets)
    sentences = {
        part: passages.sentence_ids([_read(story, *limits) for _, story, *_ in examples], ids)
        for part, examples in parts.items()
    }
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
        groups = {"task": tasks[part]} if task == ALL else None
        splits[part] = passages.Passages(sentences[part], questions, answers, declared, groups=groups)
    return Dataset(
        name=f"babi{'_all' if task == ALL else task}" + ("" if size == "10k" else f"_{size}"),
        task="question_answering",
        labels=labels,
        preprocessing=declared,
        train=splits["train"].subset(rows["train"]),
        validation=splits["train"].subset(rows["validation"]),
        test=splits["test"],
        source=f"{SOURCE} Task {', '.join(map(str, sorted(set(tasks['train']))))}, {size} training questions.",
        assets=assets,
        arguments_given=passages.arguments_of(declared, len(labels)),
    )


def _read(story, story_words, story_sentences):
    """Returns the sentences that a model reads in either form: the latest so many, and those of so many words."""
    start = max(0, len(story) - story_sentences)
    words = sum(map(len, story[start:]))
    while start and words < story_words:
        start -= 1
        words += len(story[start])
    return story[start:]


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
    """Returns `(name, lines)` of the training and the test file of a task, or of each: number -> part -> such."""
    names = (REMOTE.file, LARGE_ONLY) if size == "10k" else (REMOTE.file,)
    path, wanted = locate(names, REMOTE, "bAbI"), TASKS if task == ALL else (task,)
    found = {number: {} for number in wanted}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                at = _MEMBER.match(member.name)
                if member.isfile() and at and at[1] == FOLDERS[size] and int(at[2]) in found:
                    lines = archive.extractfile(member).read().decode("utf-8").splitlines()
                    found[int(at[2])][at[3]] = member.name, lines
    except (OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        works = "Delete it to get it anew."
        raise DataError(worded(f"{path} is not a whole bAbI archive ({error})", works=works)) from error
    lacking = {number: next((p for p in PARTS if p not in files), None) for number, files in found.items()}
    missing = [number for number, part in lacking.items() if part]
    if not missing:
        return found
    works = "Choose another task." if task != ALL else "Choose another size."
    if path.name != REMOTE.file:
        works = f"{works[:-1]}, or put {REMOTE.file} from {REMOTE.url} beside it, which has them all."
    if task != ALL:
        raise DataError(worded(f"{path.name} lacks the {lacking[task]} file of task {task}", works=works))
    if len(missing) == len(found):
        raise DataError(worded(f"{path.name} lacks every task", works=works))
    files = ", ".join(f"{number} ({lacking[number]})" for number in missing)
    words = f"{path.name} lacks a file of task {files}; the other {len(found) - len(missing)} are read"
    warnings.warn(words, DataWarning, stacklevel=4)
    return {number: files for number, files in found.items() if number not in missing}


def _examples(name, lines, declared, supporting_only):
    """Returns `(story number, list of sentences, question, answer)` of each question; texts are lists of words.

    A line is a number, which starts again at 1 with each story, and a sentence; or a question, its answer and the
    numbers of the sentences that it follows from, with tabs between them.
    """
    from zoo.data.preprocessing import tokens

    words = functools.cache(lambda text: tokens(text, declared))  # the same sentences come again and again
    examples, told, story = [], {}, -1
    for at, line in enumerate(lines, start=1):
        number, _, content = line.partition(" ")
        fields = content.split("\t")
        if not number.isdecimal() or len(fields) not in (1, 3) or (story < 0 and number != "1"):
            raise DataError(worded(f"{name}, line {at}: neither a sentence nor a question", received=line[:80]))
        if number == "1":
            told, story = {}, story + 1
        if len(fields) == 1:
            told[number] = words(content)
            continue
        question, answer, supports = fields
        kept = [s for n, s in told.items() if n in supports.split()] if supporting_only else list(told.values())
        examples.append((story, kept, words(question), answer.strip().lower()))
    if not examples:
        raise DataError(worded(f"{name} holds no question"))
    return examples

"""Timing training steps in a process of its own, one for each backend: the other end of `zoo.doctoring`.

A worker reads requests (JSON, one a line) from standard input and answers on standard output. When its input ends,
because the parent is done or gone, it ends: there is nothing to save.
"""

import json
import os
import queue
import re
import sys
import threading
import time
import traceback

from zoo.errors import DataError, ZooError
from zoo.workers import answers_apart


def main():
    """Answers requests until there are no more. Returns the exit status."""
    answers = answers_apart()
    requests = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    bench = None
    while True:
        wanted = requests.get()
        try:
            if bench is None:
                bench = Bench(wanted)
                answer = {"notes": bench.notes}
            elif "steps" in wanted:
                answer = {"seconds": bench.arms[wanted["arm"]].run(wanted["steps"])}
            else:
                bench.arms[wanted["arm"]] = arm = Arm(bench, wanted)
                answer = {"seconds": arm.warmed_up(), "batch_size": arm.batch_size, "parameters": arm.parameters}
        except ZooError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        except Exception as error:
            last = (str(error).strip().splitlines() or [""])[0][:300]
            answer = {"error": f"{type(error).__name__}: {last}", "traceback": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def _listen(requests):
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


class Bench:
    """What all arms of one backend share: recipe and data.

    Args:
        wanted: dict of "model", "data" (or None), "recipe", "arguments" and "data_options", as for `zoo.train`.

    Raises:
        DataError: the data is a path and cannot be read. Of a name that is not on this machine, `notes` say so.
    """

    def __init__(self, wanted):
        from zoo.quiet import import_keras

        import_keras()
        from zoo.cache import nothing_downloaded
        from zoo.data import load
        from zoo.recipes import recipe

        self.wanted, self.arms, self.notes, self.dataset = wanted, {}, [], None
        self.chosen = recipe(wanted["recipe"])
        if wanted["data"] is not None:
            try:
                with nothing_downloaded():
                    self.dataset = load(wanted["data"], **wanted["data_options"])
            except DataError as error:
                if not re.fullmatch(r"\w+", wanted["data"]):  # a path that cannot be read is a mistake
                    raise
                self.notes = [f"Random batches in place of {wanted['data']}, which cannot be read: {error}"]


class Arm:
    """One way to train: a compiled model and the batches that it eats.

    Args:
        bench: the `Bench`.
        wanted: dict of "batch_size", "jit", "deterministic" and "steps_per_execution".
    """

    def __init__(self, bench, wanted):
        from zoo.settings import policy, settings_of

        chosen, given = bench.chosen, bench.wanted["arguments"]
        self.executed, self.rounds = wanted["steps_per_execution"], 0
        switches = wanted["jit"], wanted["deterministic"]
        self.settings = settings_of(chosen, 1, wanted["batch_size"], 0, "best", None, *switches)
        self.batch_size = self.settings["batch_size"]
        with policy(self.settings):
            make = _with_data if bench.dataset is not None else _without_data
            self.model, split = make(bench, self.settings, given)
            if self.executed > 1:
                options = {} if wanted["jit"] is None else {"jit_compile": wanted["jit"]}
                self.model.compile_recipe(chosen, steps_per_execution=self.executed, **options)
        self.split, self.parameters = split.for_batches(self.batch_size), self.model.count_params()

    def warmed_up(self):
        """Compiles, runs a few steps, and returns the seconds of one."""
        self.run(2 * self.executed)
        return self.run(2 * self.executed) / (2 * self.executed)

    def run(self, steps):
        """Trains some steps, as `zoo.train` feeds them. Returns their seconds, without those of a first execution."""
        from zoo.data.feed import feed, plain_errors, steps_per_epoch
        from zoo.measuring import ResetStates
        from zoo.settings import policy

        clock, plan, total = _clock(), self.model.plan, steps + self.executed
        in_epoch = steps_per_epoch(self.split, self.batch_size, drop_remainder=True)
        order = {"seed": self.rounds, "epochs": -(-total // in_epoch) + 1, "drop_remainder": True}
        self.rounds += 1
        self.model.recipe_callbacks().clear()  # they act between steps, at ends of epochs that never come here
        with policy(self.settings), plain_errors():
            batches = feed(self.split, self.batch_size, augment=plan.augment, balance=plan.balance, **order)
            self.model.stop_training = False
            self.model.fit(
                batches,
                epochs=1,
                steps_per_epoch=total,
                callbacks=[ResetStates(), clock],
                verbose=0,
                shuffle=False,
                augment=False,
            )
        return clock.ends[-1] - clock.ends[0]


def _with_data(bench, settings, arguments):
    """Returns the compiled model and the training split that `zoo.train` would start with."""
    from zoo.training import prepared

    model, dataset = prepared(bench.wanted["model"], bench.dataset, bench.chosen, settings, None, arguments)
    return model, dataset.train


def _without_data(bench, settings, arguments):
    """Returns the compiled model and random examples that fit it."""
    import keras

    from zoo.factory import build, resolve

    builder, variant, complete = resolve(bench.wanted["model"], arguments)
    if "batch_size" in complete and "batch_size" not in arguments:  # of a model that carries state between batches
        arguments = {**arguments, "batch_size": settings["batch_size"]}
    keras.utils.set_random_seed(settings["seed"])
    built = build(variant, **bench.chosen.builder_arguments(builder, variant, arguments))
    bench.chosen.initialise(built)
    options = {} if settings["jit"] is None else {"jit_compile": settings["jit"]}
    model = bench.chosen.compile(built, **options)
    return model, made_up(model, 8 * settings["batch_size"])


def made_up(model, examples):
    """Returns random examples that a compiled model can be trained on, a `zoo.data.base.TreeSplit`.

    Args:
        model: a `ZooModel`; whole numbers go up to what the embeddings that read them know, the others are normal.
        examples: how many.
    """
    import keras
    import numpy as np

    from zoo.data.base import TreeSplit

    random = np.random.default_rng(0)
    known = {}  # id of an input -> how many different whole numbers its embedding takes
    for layer in model.layers:
        if isinstance(layer, keras.layers.Embedding):
            known.update({id(tensor): layer.input_dim for tensor in keras.tree.flatten(layer.input)})

    def values(tensor):
        shape = (examples, *(size or 16 for size in tensor.shape[1:]))
        if "int" in tensor.dtype:
            return random.integers(1, max(2, known.get(id(tensor), 2)), shape).astype(tensor.dtype)
        return random.standard_normal(shape, np.float32)

    def targets(head, tensor):
        shape = (examples, *(size or 16 for size in tensor.shape[1:]))
        if head.kind == "softmax":
            return random.integers(0, head.units, shape[:-1]).astype(np.int32)
        if head.kind == "sigmoid":
            return random.integers(0, 2, shape if head.units > 1 else shape[:-1]).astype(np.int32)
        return random.standard_normal(shape, np.float32)

    x = {tensor.name: values(tensor) for tensor in model.inputs}
    y = {h.name: targets(h, tensor) for h, tensor in zip(model.plan.heads, model.outputs, strict=True)}
    if not isinstance(model.input, dict):
        x = next(iter(x.values()))
    return TreeSplit(x, y if len(y) > 1 else next(iter(y.values())))


def _clock():
    """Returns a callback that notes when each execution has ended, which reading its loss waits for."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])
            self.ends.append(time.perf_counter())

    return Clock()

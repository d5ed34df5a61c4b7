"""One row per trick: a form of it that fits a fit of one epoch, what it acts on, and what only one trick may set."""

from dataclasses import dataclass

KINDS = ("image", "binary", "text", "heads", "number")
CLASSES = ("image", "binary", "text", "heads")  # nets with a softmax or sigmoid head
DIAGONAL = tuple(tuple(int(i == j) for j in range(6)) for i in range(6))  # a mask for images of 6 x 6


@dataclass(frozen=True)
class Case:
    """What the tests of all tricks need to know of one.

    Attributes:
        text: the trick with arguments for one epoch of a tiny net, other terms it needs included; "{folder}" stands
            for a folder with `teacher`, a run of the image net, and `mask.npy`, of its image's height and width.
        on: the nets of `nets.NETS` on which it acts; on the others it says that it "finds no" such thing.
        sets: what it sets that no other trick may set as well; two tricks that share a word conflict.
        refuses: names of other tricks that it refuses for a reason of its own.
        refused_in_fit: what it says in a plain `fit`, where it needs `zoo.train`; None where it works there.
    """

    text: str
    on: tuple = KINDS
    sets: tuple = ()
    refuses: tuple = ()
    refused_in_fit: str | None = None


CASES = {
    "accumulate": Case("accumulate(steps=2)"),
    "adadelta": Case("adadelta", sets=("optimizer",)),
    "adafactor": Case("adafactor", sets=("optimizer",)),
    "adagrad": Case("adagrad", sets=("optimizer",)),
    "adam": Case("adam", sets=("optimizer",)),
    "adamax": Case("adamax", sets=("optimizer",)),
    "adamw": Case("adamw", sets=("optimizer", "weight_decay")),
    "ant": Case("ant", on=("image", "binary"), sets=("attack",)),
    "batch_norm": Case("batch_norm", on=("image", "binary"), sets=("norm",)),
    "class_balance": Case("class_balance", on=("image", "binary", "text"), sets=("balance",)),
    "classifier_bias_prior": Case("classifier_bias_prior", on=("binary", "text", "heads")),
    "clip_norm": Case("clip_norm"),
    "clip_weights": Case("clip_weights(limit=0.5)"),
    "cosine": Case("cosine", sets=("decay",)),
    "cutmix": Case("cutmix", on=("image", "binary")),
    "cyclic": Case("cyclic(epochs=1)", sets=("decay",)),
    "distill": Case("distill(teacher='{folder}/teacher')", on=("image",)),
    "drop_path": Case("drop_path(rate=0.2)", on=("image", "binary"), sets=("drop_path_rate",)),
    "dropout": Case("dropout(rate=0.3)", on=("image", "binary"), sets=("drop_rate",)),
    "early_stopping": Case("early_stopping(metric='loss')"),
    "ema": Case("ema", sets=("average",)),
    "features_once": Case(
        "features_once",
        refused_in_fit="features_once needs zoo.train",
        refuses=(
            "ant",
            "cutmix",
            "distill",
            "fgm",
            "fgsm",
            "flip_crop",
            "free_lb",
            "freeze_bn",
            "gradient_penalty",
            "gradual_unfreeze",
            "gridmask",
            "ifgsm",
            "layer_decay",
            "lora",
            "mixup",
            "pgd",
            "prior",
            "randaugment",
            "random_erasing",
            "snapshot",
            "support_vectors",
            "word_dropout",
        ),
    ),
    "fgm": Case("fgm", on=("text",)),
    "fgsm": Case("fgsm", on=("image", "binary", "heads", "number"), sets=("attack",)),
    "flip_crop": Case("flip_crop(pad=1)", on=("image", "binary")),
    "flooding": Case("flooding", sets=("bound",)),
    "focal": Case("focal", on=CLASSES, sets=("loss",)),
    "free_lb": Case("free_lb(steps=2)", on=("text",), sets=("attack",)),
    "freeze_backbone": Case("freeze_backbone", refuses=("gradual_unfreeze", "layer_decay")),
    "freeze_bn": Case("freeze_bn", on=("image", "binary"), refuses=("group_norm", "layer_norm")),
    "ftrl": Case("ftrl", sets=("optimizer",), refuses=("gradual_unfreeze",)),
    "gelu": Case("gelu", on=("image", "binary"), sets=("activation",)),
    "gradient_penalty": Case("gradient_penalty"),
    "gradual_unfreeze": Case("gradual_unfreeze"),
    "gridmask": Case("gridmask", on=("image", "binary")),
    "group_norm": Case("group_norm", on=("image", "binary"), sets=("norm",)),
    "ifgsm": Case("ifgsm(steps=2)", on=("image", "binary", "heads", "number"), sets=("attack",)),
    "label_smoothing": Case("label_smoothing", on=CLASSES, sets=("label_smoothing",)),
    "lamb": Case("lamb", sets=("optimizer",)),
    "layer_decay": Case("layer_decay"),
    "layer_norm": Case("layer_norm", on=("image", "binary"), sets=("norm",)),
    "lion": Case("lion", sets=("optimizer",)),
    "lookahead": Case("lookahead(steps=1)"),
    "lora": Case("lora(rank=2)", on=("heads", "number"), refuses=("gradual_unfreeze", "layer_decay")),
    "loss_weights": Case("loss_weights(learned=True)", on=("heads",), sets=("loss_weights",)),
    "lr_finder": Case(
        "lr_finder",
        sets=("decay",),
        refuses=("early_stopping", "ema", "swa"),
        refused_in_fit="lr_finder needs at least 20 steps",
    ),
    "mixup": Case("mixup(alpha=0.4)", on=("image", "binary")),
    "muon": Case("muon", sets=("optimizer", "weight_decay")),
    "nadam": Case("nadam", sets=("optimizer",)),
    "nce": Case("nce(samples=2)", on=("image", "heads"), sets=("loss",), refuses=("sigmoid_head",)),
    "negative_sampling": Case(
        "negative_sampling(samples=2)", on=("image", "heads"), sets=("loss",), refuses=("sigmoid_head",)
    ),
    "one_cycle": Case("one_cycle", sets=("decay",)),
    "pgd": Case("pgd(steps=2)", on=("image", "binary", "heads", "number"), sets=("attack",)),
    "polynomial": Case("polynomial", sets=("decay",)),
    "prior": Case(f"prior(mask={DIAGONAL}, weight=1.0)", on=("image", "binary")),
    "radam": Case("radam", sets=("optimizer",)),
    "randaugment": Case("randaugment", on=("image", "binary")),
    "random_erasing": Case("random_erasing(probability=0.5)", on=("image", "binary")),
    "relu": Case("relu", on=("image", "binary"), sets=("activation",)),
    "rmsprop": Case("rmsprop", sets=("optimizer",)),
    "sam": Case("sam"),
    "schedule_free_adamw": Case("schedule_free_adamw", sets=("optimizer",), refuses=("gradual_unfreeze",)),
    "separable": Case("separable", on=("image", "binary"), sets=("separable",)),
    "sgd": Case("sgd(learning_rate=0.01)", sets=("optimizer",)),
    "sigmoid_ce": Case("sigmoid_ce", on=("image", "heads"), sets=("loss",), refuses=("sigmoid_head",)),
    "sigmoid_head": Case("sigmoid_head", on=("image", "heads"), sets=("head_kind",)),
    "silu": Case("silu", on=("image", "binary"), sets=("activation",)),
    "skip": Case("skip(on=False)", on=("image", "binary"), sets=("shortcut",)),
    "snapshot": Case("snapshot(cycles=1)", sets=("decay",)),
    "softmax_head": Case("softmax_head", on=("image", "heads"), sets=("head_kind",)),
    "step": Case("step", sets=("decay",)),
    "support_vectors": Case(
        "support_vectors", on=("image", "binary", "text"), refused_in_fit="support_vectors needs zoo.train"
    ),
    "swa": Case("swa", sets=("average",)),
    "warmup": Case("warmup(epochs=0.5)"),
    "weight_decay": Case("weight_decay", sets=("weight_decay",)),
    "word_dropout": Case("word_dropout(rate=0.3)", on=("text",)),
}

"""One row per model: small arguments, shapes, exact parameter counts. `tests/test_models.py` runs every row.

Counts hold every weight, trainable or not, as `keras.Model.count_params` does; `published` is what the paper or the
reference implementation states for the default arguments, in trainable weights.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A model at a size that tests in a second.

    Attributes:
        name: of the variant.
        arguments: small ones for `zoo.build`.
        input_shape: of one example; a text model takes token ids. Of several inputs a dict, input name -> shape.
        output_shape: of one example; of several outputs a dict.
        parameters: at these arguments.
        published: trainable parameters at the default arguments, or None where nobody published them.
        id: of the row, where a variant has several.
        limits: input name -> what its whole numbers stay below; by default the argument `vocab_size`.
    """

    name: str
    arguments: dict
    input_shape: tuple | dict
    output_shape: tuple | dict
    parameters: int
    published: int | None = None
    id: str = ""
    limits: dict = field(default_factory=dict)

    def __str__(self):
        return self.id or self.name


CIFAR = {"blocks": (1, 1), "image_shape": (8, 8, 3), "filters": 4, "num_classes": 3}
IMAGENET = {"blocks": (1, 1), "image_shape": (32, 32, 3), "filters": 4, "num_classes": 3}
SEPARABLE = {"filters": (4, 6), "image_shape": (8, 8, 3), "num_classes": 3, "drop_rate": 0.0}
SEPARABLE_PLUS = {"shortcut": "projection", "norm": None, "separable": False, "num_classes": 1}
SEPARABLE_TEXT = {"vocab_size": 40, "sequence_length": 7, "embed_dim": 6, "filters": (6, 8), "drop_rate": 0.0}
STEREO = {"backbone": "separable", "image_shape": (8, 8, 1), "filters": 4, "units": 8}
XCEPTION = {"stem_filters": (6, 8), "entry_filters": (8,), "middle_blocks": 1, "exit_filters": (8, 12, 12)}
XCEPTION |= {"flavour": "torch", "image_shape": (16, 16, 3), "num_classes": 3}
VIT = {"image_shape": (8, 8, 1), "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 3}
VIT_SWITCHES = {"norm": "batch", "activation": "relu", "qkv_bias": False, "epsilon": 1e-3}
TEXT = {"vocab_size": 40, "sequence_length": 7, "embed_dim": 6, "units": 5, "drop_rate": 0.0}
DEEP = {"num_layers": 2, "bidirectional": True, "drop_rate": 0.1, "num_classes": 3}
NIN = {"widths": ((8, 6), (8, 6), (6,)), "image_shape": (8, 8, 3), "num_classes": 3, "drop_rate": 0.05}
HIGHWAY = {"depth": 4, "units": 8, "image_shape": (4, 4, 2), "num_classes": 3}
HIGHWAY_CONV = {"filters": 4, "stages": (2, 1), "image_shape": (10, 10, 1), "num_classes": 3, "drop_rate": 0.0}
LM = {"vocab_size": 20, "sequence_length": 6, "embed_dim": 16, "units": 24, "drop_rate": 0.0}
TIED = {"embed_dim": 24, "num_layers": 1, "tie_weights": True}
INCEPTION = {"pool_filters": (), "factorised_filters": (), "wide_blocks": 0, "width": 0.05, "num_classes": 3}
INCEPTION_LARGE = {"pool_filters": (32,), "image_shape": (75, 75, 3)}
INCEPTION_AUX = {"factorised_filters": (128,), "stem": "3x3", "image_shape": (12, 12, 3), "aux": True, "drop_rate": 0.0}
TWO_LOGITS = {"logits": (3,), "aux_logits": (3,)}
INCEPTION_SMALL = {"wide_blocks": 1, "image_shape": (9, 8, 1), "flavour": "keras", "norm": "layer", "drop_rate": 0.0}
CONVNET = {"filters": (4, 6), "image_shape": (9, 8, 2), "units": 7, "num_classes": 3}
WORDS = {"vocab_size": 40, "embed_dim": 6, "window": 2, "negatives": 3}
PAIR = {"word": (1,), "candidates": (4,)}
BAG = {"context": (4,), "candidates": (4,)}
WIDE_DEEP = {"wide_columns": 3, "wide_size": 12, "category_columns": 2, "category_size": 9, "number_columns": 4}
WIDE_DEEP |= {"embed_dim": 3, "widths": (8, 6), "num_classes": 3}
WIDE_DEEP_INPUTS = {"wide": (3,), "categories": (2,), "numbers": (4,)}
POSTS = {"vocab_size": 30, "sequence_length": 14, "embed_dim": 6, "filters": ((6,), (8, 8)), "kernel_size": 2}
POSTS |= {"pool_size": 3, "units": 8, "num_groups": 3}
PEOPLE = {"num_features": 7, "widths": (12, 8), "drop_rate": 0.0, "num_groups": 3}
PERSON = {"age": (1,), "income": (3,), "gender": (1,)}
PRICE = {"metadata_size": 5, "vocab_size": 20, "sequence_length": 6, "image_shape": (8, 8, 3), "embed_dim": 5}
PRICE |= {"filters": (4, 6), "units": 8}
OFFER = {"metadata": (5,), "description": (6,), "picture": (8, 8, 3)}
QA = {"vocab_size": 9, "story_length": 6, "question_length": 4, "story_units": 6, "question_units": 5, "num_classes": 3}
MEMORY = {"vocab_size": 11, "story_length": 4, "sentence_length": 5, "question_length": 3, "embed_dim": 6}
MEMORY |= {"num_classes": 3}
LAYER_WISE = {"tying": "layer_wise", "linear": True}
ALIKE = {"similarity": "manhattan", "pool": "mean"}
CONV1D = {"vocab_size": 40, "sequence_length": 7, "embed_dim": 6, "filters": 4, "kernel_sizes": (3, 3), "pool_size": 2}
GAN = {"image_shape": (8, 8, 1), "latent_dim": 3, "widths": (4, 6)}
SCORES = {"real": (1,), "fake": (1,)}

CASES = [
    Case("softmax", {"image_shape": (4, 4, 2), "num_classes": 3}, (4, 4, 2), (3,), 99, 7_850),
    Case("resnet20", CIFAR | {"blocks": (1, 1, 1)}, (8, 8, 3), (3,), 5_007, 269_722),
    Case("resnet32", CIFAR | {"blocks": (2, 1)}, (8, 8, 3), (3,), 1_719, 464_154),
    Case("resnet44", CIFAR, (8, 8, 3), (3,), 1_399, 658_586),
    Case("resnet56", CIFAR | {"shortcut": "projection"}, (8, 8, 3), (3,), 1_463, 853_018),
    Case("resnet110", CIFAR | {"num_classes": 1}, (8, 8, 3), (1,), 1_381, 1_727_962),
    Case("resnet18", IMAGENET, (32, 32, 3), (3,), 1_943, 11_689_512),
    Case("resnet34", IMAGENET | {"blocks": (1, 2)}, (32, 32, 3), (3,), 3_159, 21_797_672),
    Case("resnet50", IMAGENET, (32, 32, 3), (3,), 2_943, 25_557_032),
    Case("resnet50", IMAGENET | {"flavour": "keras"}, (32, 32, 3), (3,), 2_943, id="resnet50_keras"),
    Case("resnet101", IMAGENET | {"blocks": (1,)}, (32, 32, 3), (3,), 1_103, 44_549_160),
    Case("resnet152", IMAGENET | {"shortcut": "pad"}, (32, 32, 3), (3,), 2_175, 60_192_808),
    Case("resnet20v2", CIFAR, (8, 8, 3), (3,), 1_399),
    Case("resnet56v2", CIFAR | {"shortcut": "projection", "flavour": "keras"}, (8, 8, 3), (3,), 1_455),
    Case("resnet110v2", CIFAR | {"norm": "group", "activation": "silu"}, (8, 8, 3), (3,), 1_343),
    Case("resnet164v2", CIFAR | {"norm": None, "drop_path_rate": 0.05}, (8, 8, 3), (3,), 2_091),
    Case("resnet50v2", IMAGENET, (32, 32, 3), (3,), 2_751),
    Case("resnet101v2", IMAGENET | {"separable": True, "drop_rate": 0.05}, (32, 32, 3), (3,), 2_219),
    Case("resnet152v2", IMAGENET | {"blocks": (1,), "shortcut": None}, (32, 32, 3), (3,), 975),
    Case("xception", XCEPTION, (16, 16, 3), (3,), 2_573, 22_855_952),
    Case(
        "xception",
        XCEPTION | {"shortcut": None, "num_classes": 1},
        (16, 16, 3),
        (1,),
        2_355,
        id="xception_plain",
    ),
    Case("xception_small", XCEPTION | {"drop_path_rate": 0.05}, (16, 16, 3), (3,), 2_573),
    Case(
        "xception_small",
        XCEPTION | {"separable": False, "norm": "layer", "activation": "silu"},
        (16, 16, 3),
        (3,),
        7_173,
        id="xception_dense",
    ),
    Case("separable", SEPARABLE, (8, 8, 3), (3,), 411),
    Case("separable", SEPARABLE | SEPARABLE_PLUS, (8, 8, 3), (1,), 865, id="separable_plus"),
    Case("separable_text", SEPARABLE_TEXT, (7,), (1,), 539),
    Case("separable_text", SEPARABLE_TEXT | {"norm": "batch", "num_classes": 3}, (7,), (3,), 641, id="separable_norm"),
    Case("stereo", STEREO, {"left": (8, 8, 1), "right": (8, 8, 1)}, (1,), 37_877),
    Case("vit_tiny", VIT, (8, 8, 1), (3,), 1_971, 5_717_416),
    Case("vit_small", VIT | {"pool": "mean", "num_classes": 1}, (8, 8, 1), (1,), 1_937, 22_050_664),
    Case("vit_base", VIT | {"drop_rate": 0.05, "drop_path_rate": 0.05}, (8, 8, 1), (3,), 1_971, 86_567_656),
    Case("vit_large", VIT | {"depth": 1, "mlp_ratio": 2.0}, (8, 8, 1), (3,), 827, 304_326_632),
    Case("vit_tiny", VIT | VIT_SWITCHES, (8, 8, 1), (3,), 2_003, id="vit_switches"),
    Case("vit_tiny", VIT | {"norm": "group", "depth": 1, "shortcut": False}, (8, 8, 1), (3,), 1_099, id="vit_plain"),
    Case("lstm", TEXT, (7,), (1,), 486),
    Case("lstm", TEXT | DEEP, (7,), (3,), 1_393, id="lstm_deep"),
    Case("gru", TEXT, (7,), (1,), 441),
    Case("gru", TEXT | {"pool": "last", "bidirectional": True}, (7,), (1,), 641, id="gru_last"),
    Case("nin", NIN, (8, 8, 3), (3,), 2_275, 966_986),
    Case(
        "nin", NIN | {"norm": "batch", "activation": "silu", "num_classes": 1}, (8, 8, 3), (1,), 2_363, id="nin_batch"
    ),
    Case("highway10", HIGHWAY, (4, 4, 2), (3,), 723, 85_660),
    Case("highway50", HIGHWAY | {"norm": "layer", "activation": "gelu"}, (4, 4, 2), (3,), 787, 289_660),
    Case("highway50", HIGHWAY | {"gate": False}, (4, 4, 2), (3,), 507, id="highway50_plain"),
    Case("highway_conv", HIGHWAY_CONV, (10, 10, 1), (3,), 711, 151_690),
    Case("highway_conv_thin", HIGHWAY_CONV | {"num_classes": 1}, (10, 10, 1), (1,), 701, 38_986),
    Case("convnet", CONVNET, (9, 8, 2), (3,), 1_093, 3_274_634),
    Case("convnet", CONVNET | {"norm": "batch", "num_classes": 1}, (9, 8, 2), (1,), 1_107, id="convnet_batch"),
    Case("convnet_small", CONVNET, (9, 8, 2), (3,), 805, 166_406),
    Case("lstm_lm_small", LM, (6,), (6, 20), 9_460, 4_651_600),
    Case("lstm_lm_medium", LM | TIED, (6,), (6, 20), 5_184, 19_775_200),
    Case("lstm_lm_large", LM | {"num_layers": 1, "drop_rate": 0.05}, (6,), (6, 20), 4_756, 66_022_000),
    Case("gru_lm_small", LM, (6,), (6, 20), 7_444),
    Case("gru_lm_medium", LM | TIED, (6,), (6, 20), 4_080),
    Case("gru_lm_large", LM | {"num_layers": 1, "drop_rate": 0.05}, (6,), (6, 20), 3_844),
    Case("inception_v3", INCEPTION | INCEPTION_LARGE, (75, 75, 3), (3,), 8_988, 23_834_568),
    Case("inception_v3", INCEPTION | INCEPTION_AUX, (12, 12, 3), TWO_LOGITS, 9_920, id="inception_aux"),
    Case("inception_small", INCEPTION | INCEPTION_SMALL, (9, 8, 1), (3,), 17_718),
    Case("skipgram", WORDS, PAIR, (4,), 480),
    Case("skipgram", WORDS | {"loss": "nce"}, PAIR | {"offset": (4,)}, (4,), 520, id="skipgram_nce"),
    Case("cbow", WORDS, BAG, (4,), 480),
    Case("cbow", WORDS | {"loss": "nce"}, BAG | {"offset": (4,)}, (4,), 520, id="cbow_nce"),
    Case("wide_deep", WIDE_DEEP, WIDE_DEEP_INPUTS, (3,), 226, limits={"wide": 12, "categories": 9}),
    Case("multihead", POSTS, (14,), PERSON, 615),
    Case("multihead_tabular", PEOPLE, (7,), PERSON, 245),
    Case("price", PRICE, OFFER, (1,), 897),
    Case("price_lstm", PRICE, OFFER, (1,), 1_117),
    Case("qa", QA, {"story": (6,), "question": (4,)}, (3,), 3_364, 1_000_052),
    Case("qa", QA | {"hidden_units": 8}, {"story": (6,), "question": (4,)}, (3,), 3_451, id="qa_hidden"),
    Case("qa_memn2n", MEMORY, {"story": (4, 5), "question": (3,)}, (3,), 360),
    Case("qa_memn2n", MEMORY | LAYER_WISE, {"story": (4, 5), "question": (3,)}, (3,), 300, id="memn2n_layer_wise"),
    Case("siamese", TEXT, {"first": (7,), "second": (7,)}, (1,), 491),
    Case("siamese", TEXT | ALIKE, {"first": (7,), "second": (7,)}, (1,), 482, id="siamese_manhattan"),
    Case("conv1d", CONV1D, (7,), (1,), 373, 1_315_937),
    Case("conv1d", CONV1D | {"norm": "batch", "separable": True}, (7,), (1,), 347, id="conv1d_separable"),
    Case("conv1d_kim", CONV1D | {"kernel_sizes": (2, 3), "norm": "layer"}, (7,), (1,), 385),
    Case("wgan", GAN | {"image_shape": (7, 9, 2)}, {"image": (7, 9, 2), "noise": (3,)}, SCORES, 1_814),
    Case("wgan_gp", GAN | {"critic_norm": "layer"}, {"image": (8, 8, 1), "noise": (3,)}, SCORES, 1_553),
]

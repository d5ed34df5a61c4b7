"""A name and arguments become a model; with weights it is filled, with a recipe it is compiled."""

import contextlib

from zoo.arguments import checked
from zoo.image_size import with_image_size
from zoo.registry import builder_of
from zoo.spec import Spec, attach, jsonable


def resolve(name, arguments):
    """Returns `(Builder, variant, arguments)` with every argument filled in and checked.

    Raises:
        UnknownName: the model, or an argument, is not known; the message gives the nearest.
        InvalidArgument: a value has the wrong type.
    """
    builder, variant = builder_of(name)
    complete = checked(f"model {variant!r}", builder.function, arguments, builder.variants[variant])
    return builder, variant, complete


def build_plain(name, arguments):
    """Returns the uncompiled `keras.Model` of a name and its arguments, its `Spec` attached."""
    import keras

    builder, variant, complete = resolve(name, arguments)
    # The scope puts off the first value of every variable until it closes: the values are the same and building takes
    # half the time. It does not allow a recurrent state that carries over, which is made with its value, and would
    # lose weights that a builder of somebody else's sets.
    later = builder.module.startswith("zoo.models.") and not complete.get("batch_size")
    with keras.StatelessScope() if later else contextlib.nullcontext():
        model = builder.function(**complete)
    spec = Spec(name=variant, arguments=jsonable(complete), task=builder.task, heads=builder.heads_for(complete))
    return attach(model, spec)


def build_empty(name, **arguments):
    """Returns the model of a name with every weight zero, for weights that are about to be overwritten.

    Takes no time for random numbers: a ViT-Large has 304 million of them.

    Raises:
        UnknownName: the model, or an argument, is not known; the message gives the nearest.
        InvalidArgument: a value has the wrong type.
    """
    import keras

    if arguments.get("batch_size"):  # a state that carries over is made with its value, which the scope does not allow
        model = build_plain(name, arguments)
        for weight in model.weights:
            weight.assign(keras.ops.zeros(weight.shape, weight.dtype))
        return model
    zeros = keras.initializers.Zeros()
    with keras.StatelessScope():  # puts off the first value of every variable until the scope closes
        model = build_plain(name, arguments)
        for weight in model.weights:
            weight._initializer = zeros
    return model


def build(name, *, recipe=None, weights=None, image_size=None, **arguments):
    """Builds a model by name.

    Args:
        name: variant such as "resnet20", or a family's name, which gives its first variant.
        recipe: such as "focal(gamma=2)+warmup"; the model is then compiled with it and ready to `fit`. "plain" is
            the task's standard loss and Adam.
        weights: a registered checkpoint ("resnet20.cifar10"), or a reference to a hub or folder; pinned and
            verified. Another `num_classes` than the checkpoint's keeps the backbone and warns which weights were
            not loaded.
        image_size: pixels, one number or (height, width): `image_shape` with the channels that the model or the
            checkpoint has. Position embeddings of another size are resized, and a warning says so.
        **arguments: of the builder; `zoo.info(name).arguments` lists them.

    Returns:
        A `keras.Model`; with a recipe, a compiled one.

    Raises:
        UnknownName: a name or argument is not known; the message gives the nearest.
        InvalidArgument: a value cannot work.
        Conflict: two tricks exclude each other.
        IntegrityError: the weights are not the bytes that were published.
    """
    from zoo import recipes

    chosen = None if recipe is None else recipes.recipe(recipe)
    builder, variant, complete = resolve(name, arguments)
    if weights is None:
        arguments = with_image_size(variant, arguments, image_size, complete)
    if chosen is not None:
        arguments = chosen.builder_arguments(builder, variant, arguments)
    if weights is None:
        model = build_plain(name, arguments)
        if chosen is not None:
            chosen.initialise(model)
    else:
        from zoo.hub import load_into

        model = load_into(variant, weights, arguments, image_size)
    return model if chosen is None else chosen.compile(model)

"""A small recipe and a trial of it, from which tests make others by `replace`."""

from lesionloss.training.trial import TrainingRecipe, Trial

RECIPE = TrainingRecipe(
    steps=3,
    batch=2,
    patch=(16, 16, 16),
    jitter=3,
    foreground_share=0.5,
    learning_rate=1e-3,
    poly_power=0.9,
    augment=True,
    precision="float32",
    window=(16, 16, 16),
    overlap=0.25,
    threshold=0.5,
)


TRIAL = Trial(
    loss="dice",
    dataset="tiny",
    target="new_lesions",
    network="vnet(filters=2)",
    fold=0,
    seed=1,
    train=("001", "002"),
    test=("003",),
    recipe=RECIPE,
)

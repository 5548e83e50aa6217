"""The training recipe that a plan declares, with epochs turned into steps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.sections import TrainingSection
from lesionloss.core.errors import UsageError
from lesionloss.core.files import sha256_of
from lesionloss.data.batches.shared_pools import ROUNDING
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks import network_axes
from lesionloss.training.mixture import own_share, split_mixed
from lesionloss.training.precision import resolve_precision
from lesionloss.training.pretraining import config_of, with_loss
from lesionloss.training.samplers import sampler_of
from lesionloss.training.trial import TrainingRecipe
from lesionloss.training.validation import number_of_validation_patients, unit_of


def recipe_of(
    plan: Plan, device: str, cases: Sequence[PreparedCase] = (), mixtures: Sequence[str] = ()
) -> TrainingRecipe:
    """Return how a plan trains and predicts.

    Args:
        plan: The plan.
        device: cpu or cuda:N; decides what `precision = "auto"` means.
        cases: The training cases; needed only where `counts_epochs` says so.
        mixtures: What is mixed into the training cases, see `training.mixture`.

    Raises:
        UsageError: A file of weights or settings that the plan names is missing, or the device has not the precision.
    """
    recipe = replace(_recipe_in_steps(plan, device), mix=tuple(mixtures))
    training = plan.training
    if not counts_epochs(plan):
        return recipe
    epoch = steps_per_epoch(training, recipe, cases)
    return replace(
        recipe,
        steps=training.epochs * epoch if training.epochs else training.steps,
        check_every=training.check_every or epoch,
    )


def counts_epochs(plan: Plan) -> bool:
    """Return whether numbers of steps depend on the training cases."""
    return bool(plan.training.epochs) or not plan.training.check_every


def steps_per_epoch(training: TrainingSection, recipe: TrainingRecipe, cases: Sequence[PreparedCase]) -> int:
    """Return the steps of an epoch.

    An epoch has the patches that the plan says; else those that the sampler counts; else one for each case. Of the last
    two, the share of the patients outside validation counts, so that the number does not depend on who is drawn.
    Mixtures with a share of the patches make an epoch longer, so that it still visits the other cases once.

    Args:
        training: The plan's section.
        recipe: Batch, sampler, validation share and mixtures.
        cases: All training cases, those for validation and those of mixtures included.
    """
    own, joined, _ = split_mixed(cases, recipe.mix)
    patients = len({unit_of(case, recipe.split_by) for case in own})
    validation = number_of_validation_patients(patients, recipe.validation_share) if recipe.validation_share else 0
    patches = training.epoch_patches
    if not patches:
        patches = -(-_patches(recipe, own) * (patients - validation) // patients) + _patches(recipe, joined)
        patches = math.ceil(patches / own_share(recipe.mix) - ROUNDING)
    return max(1, -(-patches // (recipe.batch * recipe.accumulate)))


def _patches(recipe: TrainingRecipe, cases: Sequence[PreparedCase]) -> int:
    """The patches of an epoch over cases without a share: those that the sampler counts, else one for each case."""
    if not cases:
        return 0
    return sampler_of(replace(recipe, mix=())).over({case.name: case for case in cases}).per_epoch or len(cases)


def _recipe_in_steps(plan: Plan, device: str) -> TrainingRecipe:
    training, network, options = plan.training, plan.network, plan.loss_options
    return TrainingRecipe(
        steps=training.steps,
        batch=training.batch,
        patch=training.patch,
        jitter=training.jitter,
        foreground_share=training.foreground_share,
        learning_rate=training.learning_rate,
        poly_power=training.poly_power,
        augment=training.augment,
        precision=resolve_precision(training.precision, device),
        window=plan.inference.window or training.patch[: network_axes(network.text)],
        overlap=plan.inference.overlap,
        whole_image=plan.inference.whole_image,
        threshold=plan.inference.threshold,
        merge=plan.inference.merge,
        merge_of=plan.inference.merge_of,
        decision=plan.inference.decision,
        optimiser=training.optimiser,
        schedule=training.schedule,
        sampler=training.sampler,
        clip_norm=training.clip_norm,
        accumulate=training.accumulate,
        deep_weights=training.deep_weights,
        deep_upsampling=training.deep_upsampling,
        consistency_from=training.consistency_from,
        validation_share=training.validation_share,
        check_every=training.check_every,
        patience=training.patience,
        monitor=training.monitor,
        keep=training.keep,
        split_by=plan.split_by,
        initial=network.initial,
        start_from=network.start_from,
        start_layout=network.start_layout,
        start_sha256=_digest_of_file(network.start_from or config_of(training.pretrain)),
        freeze=network.freeze,
        pretrain=with_loss(training.pretrain, plan.baseline_loss),
        empty=options.empty,
        average_background=options.average_background,
        pooled=options.pooled,
        class_weights=tuple(sorted(plan.class_weights.items())),
    )


def _digest_of_file(path: str) -> str:
    """SHA-256 of a file of weights or settings, so that the trial's key depends on it; empty for no file."""
    if not path:
        return ""
    if not Path(path).is_file():
        raise UsageError(
            f"no file {path}; start_from needs a file of weights (.safetensors, .pth), pretrain's config a TOML file"
        )
    return sha256_of(Path(path))

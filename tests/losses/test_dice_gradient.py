"""docs/explanation/gradients.md: terms of the Dice derivative, against autograd, finite differences and the losses."""

import math

import pytest
import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.criterion import build
from lesionloss.losses.dice_gradient import DiceWeights, dice_terms, dice_weights

N = 60
WEIGHTS = [DiceWeights(1.0, 0.0), DiceWeights(1.0, 0.02), DiceWeights(0.7, 0.3), DiceWeights(0.2, 0.9)]


def image(lesions: int = 7) -> tuple[Tensor, Tensor]:
    p = torch.rand(N, generator=torch_generator("dice gradient", lesions), dtype=torch.float64)
    return p, (torch.arange(N) < lesions).double()


def parts(p: Tensor, y: Tensor, w: DiceWeights) -> tuple[Tensor, Tensor]:
    """F and G of equations A9 and A10."""
    both = (p + y).sum()
    f = (w.lesion + w.background) * (p * y).sum() + w.background * (N - both)
    return f, (w.lesion - w.background) * both + 2 * N * w.background


def loss(p: Tensor, y: Tensor, w: DiceWeights) -> Tensor:
    f, g = parts(p, y, w)
    return 1 - 2 * f / g


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_terms_are_the_derivative(weights: DiceWeights) -> None:
    p, y = image()
    found = dice_terms(p, y, weights).derivative
    variable = p.clone().requires_grad_()
    (computed,) = torch.autograd.grad(loss(variable, y, weights), variable)
    assert found.numpy() == pytest.approx(computed.numpy(), rel=1e-10)
    for place in (0, N - 1):
        step = torch.zeros(N, dtype=torch.float64)
        step[place] = 1e-6
        difference = (loss(p + step, y, weights) - loss(p - step, y, weights)) / 2e-6
        assert float(found[place]) == pytest.approx(float(difference), rel=1e-5)


def test_equation_a14_is_printed_with_the_wrong_sign_and_a15_is_right() -> None:
    p, y = image()
    w = DiceWeights(0.7, 0.3)
    f, g = parts(p, y, w)
    slope_f, slope_g = (w.lesion + w.background) * y - w.background, w.lesion - w.background
    both, overlap = (p + y).sum(), (p * y).sum()
    printed = (  # the right side of A14
        -(w.lesion**2 - w.background**2) * overlap
        + w.background * (w.lesion - w.background) * both
        - N * w.background * (w.lesion - w.background)
    )
    assert float(printed) == pytest.approx(-float(slope_g * f))
    right = dice_terms(p, y, w).derivative
    assert (-2 * (slope_f * g - slope_g * f) / g**2).numpy() == pytest.approx(right.numpy())
    assert (-2 * (slope_f * g - printed) / g**2).numpy() != pytest.approx(right.numpy())


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_gradient_of_a_parameter_is_equation_a20(weights: DiceWeights) -> None:
    _, y = image()
    features = torch.randn(N, generator=torch_generator("features"), dtype=torch.float64)
    theta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    (computed,) = torch.autograd.grad(loss(torch.sigmoid(theta * features), y, weights), theta)

    p = torch.sigmoid(theta.detach() * features)
    slope = p * (1 - p) * features  # A21
    on, off = y > 0, y == 0
    lesions, others = int(on.sum()), int(off.sum())
    w1, w0 = weights.lesion, weights.background
    shared = -(w1 - w0) * lesions * p[on].mean() * (others * slope[off].mean() + lesions * slope[on].mean())
    foreground = (w1 - w0) * (lesions + others * p[off].mean() + lesions * p[on].mean()) * lesions * slope[on].mean()
    mixed = N * w0 * (lesions * slope[on].mean() - others * slope[off].mean())
    terms = dice_terms(p, y, weights)
    for together, each in ((shared, terms.shared), (foreground, terms.foreground), (mixed, terms.mixed)):  # A16 to A18
        assert float(together) == pytest.approx(float((each * slope).sum()))
    first = others * p[on].mean() * slope[off].mean() - (lesions + others * p[off].mean()) * slope[on].mean()
    second = others * slope[off].mean() - lesions * slope[on].mean()
    a20 = lesions * (w1 - w0) * first + N * w0 * second
    assert float(a20) == pytest.approx(-float(shared + foreground + mixed))
    assert float(terms.factor * a20) == pytest.approx(float(computed))


@pytest.mark.parametrize("spec", ["dice", "generalised_dice", "generalised_dice(power=1)"])
def test_the_losses_of_this_package_have_these_terms(spec: str) -> None:
    p, y = image()
    logits = torch.logit(p).requires_grad_()
    (computed,) = torch.autograd.grad(build(spec)(logits.view(1, 1, 6, 10), y.view(1, 6, 10).to(torch.uint8)), logits)
    expected = dice_terms(p, y, dice_weights(spec, N, int(y.sum()))).derivative * p * (1 - p)
    assert computed.numpy() == pytest.approx(expected.numpy(), rel=1e-4)


def test_the_condition_on_the_weights() -> None:
    for lesions in (1, 7, 19, 20, 21, 40):  # a third of N is 20
        weights = dice_weights("generalised_dice", N, lesions)
        w1, w0 = weights.lesion, weights.background
        holds = w1 > weights.least_lesion(N, lesions)
        assert holds == (lesions * (w1 - w0) > N * w0)
        assert holds == (lesions < N / 3)
    assert dice_weights("dice", N, 1).least_lesion(N, 1) == 0


def test_all_voxels_of_a_class_have_one_derivative() -> None:
    p, y = image()
    found = dice_terms(p, y, DiceWeights(1.0, 0.02)).derivative
    assert float(found[y > 0].std()) < 1e-15
    assert float(found[y == 0].std()) < 1e-15
    assert bool((found[y > 0] < 0).all())
    assert bool((found[y == 0] > 0).all())


@pytest.mark.parametrize("spec", ["dice", "generalised_dice"])
def test_confident_errors_have_no_gradient(spec: str) -> None:
    _, y = image()
    logits = torch.where(y > 0, -200.0, 200.0).float().requires_grad_()  # p is 0 on all lesions, 1 elsewhere
    for criterion, silent in ((build(spec), True), (build("cross_entropy"), False)):
        value = criterion(logits.view(1, 1, 6, 10), y.view(1, 6, 10).to(torch.uint8))
        (gradient,) = torch.autograd.grad(value, logits)
        assert bool((gradient == 0).all()) is silent


def test_the_derivative_is_undefined_where_both_are_empty() -> None:
    empty = torch.zeros(N, dtype=torch.float64)
    assert math.isnan(float(loss(empty, empty, DiceWeights(1.0, 0.0))))
    assert bool(dice_terms(empty, empty, DiceWeights(1.0, 0.0)).derivative.isnan().all())
    assert float(build("dice")(torch.full((1, 1, 6, 10), -200.0), torch.zeros(1, 6, 10, dtype=torch.uint8))) == 0


@pytest.mark.parametrize("spec", ["cross_entropy", "dice(squared=True)", "dice + cross_entropy"])
def test_other_losses_have_other_terms(spec: str) -> None:
    with pytest.raises(UsageError, match="only dice and generalised_dice"):
        dice_weights(spec, N, 7)

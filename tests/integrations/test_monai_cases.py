"""The cases of MONAI's own tests of its losses, through the adapter: which figures agree, and which can't and why."""

from pathlib import Path

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.integrations.monai import as_monai
from monai_cases import CASES, MonaiCase, numbers

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "monai.md").read_text(encoding="utf-8")
AGREEING = [(name, case) for name, cases in CASES.items() for case in cases if not case.why_not]


@pytest.mark.parametrize(
    ("name", "case"), AGREEING, ids=[f"{name}-{number}" for number, (name, _) in enumerate(AGREEING)]
)
def test_their_figure(name: str, case: MonaiCase) -> None:
    given, target = numbers(case.input), numbers(case.target)
    # Several channels of probabilities add up to 1, so their logarithms are logits.
    logits = given if not case.probabilities else (given.log() if given.shape[1] > 1 else given.logit()).clamp(-30, 30)
    value = case.factor * as_monai(ll.build(case.here, **case.options), **case.adapter)(logits, target)
    # Theirs has one value for each class or voxel without a reduction, ours one for each image: their mean.
    expected = torch.tensor(case.figure) if value.dim() == 0 else torch.tensor(case.figure).mean(1)
    # Their smoothing, 1e-6 to 1e-4, isn't ours.
    torch.testing.assert_close(value.reshape(expected.shape), expected, rtol=3e-4, atol=3e-5)


def test_their_cases_are_counted_on_the_page() -> None:
    for name, cases in CASES.items():
        agreeing = sum(not case.why_not for case in cases)
        assert f"| `{name}` | {len(cases)} | {agreeing} | {len(cases) - agreeing} |" in PAGE
    for reason in {case.why_not for cases in CASES.values() for case in cases} - {""}:
        assert reason in " ".join(PAGE.split())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", [None, (1, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.5])
def test_dice_focal_is_the_sum_of_its_parts(reduction, weights, share: float) -> None:
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn((3, 3, 5, 5), generator=stream)
    labels = torch.randint(0, 2, (3, 3, 5, 5), generator=stream)
    for alpha in (0.25, 0.5):
        focal = f"focal(gamma=1, lesion={alpha}, background={1 - alpha})"

        def value(text: str) -> torch.Tensor:
            loss = ll.build(text, multilabel=True, class_weights=weights)
            return as_monai(loss, reduction=reduction)(logits, labels)

        torch.testing.assert_close(value(f"dice + {share}*{focal}"), value("dice") + share * value(focal))


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("multilabel", [False, True])
def test_focal_of_a_certain_prediction_is_0(shape: tuple[int, ...], classes: int, multilabel: bool) -> None:
    for held in (1, classes):  # with one: no lesion anywhere
        labels = torch.arange(torch.Size(shape).numel()).reshape(1, 1, *shape) % held
        logits = torch.cat([torch.where(labels == number, 500.0, -500.0) for number in range(classes)], dim=1)
        assert as_monai(ll.build("focal", multilabel=multilabel))(logits, labels).item() == pytest.approx(0, abs=1e-3)


def test_focal_without_a_focus_is_binary_cross_entropy() -> None:
    stream = torch.Generator().manual_seed(1)
    logits = torch.rand((4, 10, 8, 4), generator=stream)
    labels = torch.randint(0, 2, logits.shape, generator=stream).float()
    numbered = torch.randint(0, 10, (4, 1, 8, 4), generator=stream)
    loss = as_monai(ll.build("focal(gamma=0, lesion=1, background=1)", multilabel=True))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(loss(logits, labels), entropy(logits, labels))
    one_hot = torch.nn.functional.one_hot(numbered[:, 0], 10).movedim(-1, 1).float()
    torch.testing.assert_close(loss(logits, numbered), entropy(logits, one_hot))


@pytest.mark.parametrize("shapes", [((1, 2, 3), (4, 5, 6)), ((1, 2, 3), (1, 1, 2, 3)), ((1, 3, 4, 4), (1, 2, 4, 4))])
def test_shapes_that_they_refuse_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(UsageError):
        as_monai("dice_ce")(*map(torch.ones, shapes))

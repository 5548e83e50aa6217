"""Every loss passes every law, every exemption is needed, and every planted bug is found."""

from collections.abc import Iterator

import pytest
import torch

import lesionloss as ll
import wrong_losses
from lesionloss.core.errors import UsageError
from lesionloss.losses.kernels import FAST, KERNELS, READABLE, Kernel
from lesionloss.losses.laws import LAWS, LawOutcome, check, judge
from lesionloss.losses.laws.exempt import EXEMPTIONS, Exemption
from lesionloss.losses.laws.law_batches import Law, LossUnderTest
from lesionloss.losses.registry import LOSSES, LossFunction

NAMES = [record.name for record in ll.list_losses()]
QUICK = tuple(law for law in LAWS if law.name != "compiled")
BY_NAME = {law.name: law for law in LAWS}


def broken(text: str, laws: tuple[Law, ...], kernel: Kernel | None = None) -> list[str]:
    found = check(text, kernel, laws)
    return [f"{verdict.law.name}: {verdict.detail}" for verdict in found if verdict.outcome is LawOutcome.BREAKS]


# test_kernels.py holds the values and gradients of the two kernels equal, so one of them stands for both.
@pytest.mark.parametrize(
    "kernel", [pytest.param(READABLE, marks=pytest.mark.slow), FAST], ids=lambda kernel: kernel.name
)
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_keeps_every_law(name: str, kernel: Kernel) -> None:
    assert broken(name, QUICK, kernel) == []


def test_there_are_two_kernels() -> None:
    assert KERNELS.names() == ["readable", "fast"]


@pytest.mark.parametrize(
    "text",
    [
        "0.5*dice + 0.5*focal(gamma=2)",
        "dice(squared=True)",
        "focal(gamma=0.5)",
        "weighted_gradient(gamma=4, lesion=0.7)",
        "dice_plus_plus(gamma=1.5)",
        "dice_plus_plus(gamma=0.5)",
        "asymmetric_unified_focal_plus_plus(gamma=0.1, sharpen=0.5)",
        "weighted_cross_entropy(normalise=False)",
        "focal_tversky(exponent=1.3)",
    ],
)
def test_other_hyperparameters_keep_them_too(text: str) -> None:
    assert broken(text, QUICK) == []


@pytest.mark.parametrize("name", ["dice", "hytver", "topk_dice", "weighted_gradient", "generalised_dice"])
def test_compiles_and_exports(name: str) -> None:
    assert broken(name, (BY_NAME["compiled"],)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_compile_and_export(name: str) -> None:
    assert broken(name, (BY_NAME["compiled"],)) == []


@pytest.mark.parametrize("exemption", EXEMPTIONS, ids=lambda item: f"{item.law}-{item.loss}")
def test_every_exemption_is_needed(exemption: Exemption) -> None:
    assert judge(BY_NAME[exemption.law], LossUnderTest(exemption.loss)).outcome is LawOutcome.BREAKS
    (verdict,) = check(exemption.loss, laws=(BY_NAME[exemption.law],))
    assert verdict.outcome is LawOutcome.EXEMPT
    assert verdict.detail == exemption.reason


def test_an_exemption_ends_where_its_reason_ends() -> None:
    (verdict,) = check("weighted_gradient(lesion=0.8)", laws=(BY_NAME["empty_reference"],))
    assert verdict.outcome is LawOutcome.HOLDS


@pytest.fixture(params=wrong_losses.CAUGHT_BY, ids=lambda function: function.__name__)
def wrong(request: pytest.FixtureRequest) -> Iterator[LossFunction]:
    function: LossFunction = request.param
    ll.loss(function.__name__, source="a test")(function)
    yield function
    LOSSES.remove(function.__name__)


def test_a_planted_bug_is_caught_by_its_law(wrong: LossFunction) -> None:
    verdict = judge(BY_NAME[wrong_losses.CAUGHT_BY[wrong]], LossUnderTest(wrong.__name__))
    assert verdict.outcome is LawOutcome.BREAKS
    assert verdict.detail
    assert "Error" not in verdict.detail.split(":")[0], (
        verdict.detail
    )  # caught by a counterexample, not by an exception


def test_a_map_that_a_loss_does_not_name_is_found() -> None:
    def nameless(v: ll.Voxels) -> torch.Tensor:
        """Nameless: false positives far from lesions, and the error of large lesions."""
        far = v.reference_map("distance_mm").clamp_min(0)
        missed = (1 - v.p[:, 1:]) * v.onehot[:, 1:] * v.reference_map("lesion_voxels")
        return v.total(v.p[:, 1:] * far + missed) / v.n[:, None]

    for maps in (("distance_mm", "lesion_voxels"), ("distance_mm",)):
        ll.loss("nameless", source="a test", maps=maps)(nameless)
        try:
            found = broken("nameless", (BY_NAME["reference_maps"],))
        finally:
            LOSSES.remove("nameless")
        assert len(found) == 2 - len(maps)
        assert all("it uses a map that it does not name in maps=" in text for text in found)


def test_a_geometric_loss_may_not_depend_on_the_place_itself() -> None:
    def sided(v: ll.Voxels) -> torch.Tensor:
        """Sided: errors count more at one side."""
        places = torch.arange(v.space[-1], dtype=v.logits.dtype) + 1
        errors = (v.p - v.onehot).square()[:, 1:].unflatten(-1, v.space) * places
        return v.total(errors.flatten(2)) / v.n[:, None]

    ll.loss("sided", source="a test", geometric=True)(sided)
    try:
        (found,) = broken("sided", (BY_NAME["voxel_order"],))
    finally:
        LOSSES.remove("sided")
    assert "mirrored" in found


def test_a_correct_loss_of_the_user_passes() -> None:
    def correct(v: ll.Voxels, *, gamma: float = 2.0) -> torch.Tensor:
        """Correct: squared false negatives and false positives.

        gamma: how strongly uncertain errors are down-weighted
        """
        c = v.counts(sharpen=gamma)
        return (c.fp + c.fn) / (c.tp + c.fp + c.fn + v.eps)

    ll.loss("correct", source="a test")(correct)
    try:
        assert broken("correct", LAWS) == []
    finally:
        LOSSES.remove("correct")


def test_laws_have_names_and_sentences() -> None:
    assert len({law.name for law in LAWS}) == len(LAWS)
    assert all(law.statement.endswith(".") for law in LAWS)


def test_a_text_that_is_no_loss_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'dice'"):
        next(check("dise"))

"""Weights of summands that change from the first step of a training run to the last."""

import copy

import pytest
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.spec import parse, weight_at
from lesionloss.report.loss_cards import weight_in_words


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    stream = torch_generator("schedule")
    logits = torch.randn((2, 1, 5, 6), generator=stream, dtype=torch.float64)
    return logits, (torch.rand((2, 5, 6), generator=stream) < 0.3).long()


@pytest.mark.parametrize("progress", [0, 0.25, 1.0])
def test_a_sum_has_the_weights_of_its_step(batch: tuple[Tensor, Tensor], progress: float) -> None:
    changing = ll.build("(1, 0.2)*dice_ce + (0, 1)*boundary + 0.5*focal")
    found = changing(*batch, progress=progress)
    first, last = 1 - 0.8 * progress, progress
    parts = [ll.build(name)(*batch) for name in ("dice_ce", "boundary", "focal")]
    torch.testing.assert_close(found, first * parts[0] + last * parts[1] + 0.5 * parts[2])


def test_without_progress_a_sum_has_the_weights_of_the_end(batch: tuple[Tensor, Tensor]) -> None:
    changing = ll.build("(1, 0.2)*dice + (0, 1)*focal")
    assert torch.equal(changing(*batch), changing(*batch, progress=1.0))
    torch.testing.assert_close(changing(*batch), ll.build("0.2*dice + focal")(*batch))


def test_deep_supervision_passes_progress_on(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    levels = [logits, logits[..., ::2, ::2]]
    changing = ll.DeepSupervision(ll.build("(1, 0)*dice + (0, 1)*focal"))
    for progress, alone in ((0.0, "dice"), (1.0, "focal")):
        expected = ll.DeepSupervision(ll.build(alone))(levels, labels)
        torch.testing.assert_close(changing(levels, labels, progress=progress), expected)


@pytest.mark.parametrize("progress", [-0.01, 1.01, float("nan")])
def test_progress_is_a_share(batch: tuple[Tensor, Tensor], progress: float) -> None:
    with pytest.raises(UsageError, match=r"progress must be a number from 0 \(first step\) to 1 \(last step\), got"):
        ll.build("dice")(*batch, progress=progress)


def test_text_and_copy_keep_both_weights() -> None:
    loss = ll.build("(1,0.01) * dice_ce + (1e-2, 1) * boundary")
    assert str(loss) == str(copy.deepcopy(loss)) == "(1, 0.01)*dice_ce + (0.01, 1)*boundary"
    assert [weight_at(0.5, term.weight) for term in parse(str(loss)).terms] == [0.505, 0.505]


@pytest.mark.slow
def test_a_compiled_sum_follows_its_weights(batch: tuple[Tensor, Tensor]) -> None:
    changing = ll.build("(1, 0.2)*dice + (0, 1)*focal")
    torch.compiler.reset()
    compiled = torch.compile(changing, backend="eager", fullgraph=True)
    for progress in (0.0, 0.3, 0.7, 1.0):
        torch.testing.assert_close(compiled(*batch, progress=progress), changing(*batch, progress=progress))


def test_a_card_says_both_weights() -> None:
    words = [weight_in_words(term.weight) for term in parse("(1, 0.01)*dice_ce + 0.5*focal + dice").terms]
    assert words == ["(from 1 at the first to 0.01 at the last step)", "0.5", ""]

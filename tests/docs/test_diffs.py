"""The diffs of docs/howto/change-a-script.md: both sides are programs, and the new one trains."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "change-a-script.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def side(diff: str, sign: str) -> str:
    """The old (-) or the new (+) program of a diff."""
    return "\n".join(line[1:] for line in diff.splitlines() if not line or line[0] in f" {sign}")


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand(2, 1, 16, 16, 16, generator=generator) > 0.9).float()
    return {"image": label + torch.randn(label.shape, generator=generator), "label": label}


def run(program: str, **given: Any) -> dict[str, Any]:
    exec(compile(program, "diff", "exec"), given)
    return given


def test_there_are_four() -> None:
    assert len(DIFFS) == 4
    assert "lesionloss nnunet train" in DIFFS[1]


@pytest.mark.slow
@pytest.mark.parametrize("sign", "-+")
def test_both_scripts_of_monai_train_and_score(sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(side(DIFFS[0], sign), loader=[batch()])
    assert 0 <= float(done["dice"].aggregate()) <= 1
    assert capsys.readouterr().out.count("tensor") == 1 + (sign == "+")


def test_the_trainer_of_nnunet_builds_the_loss_of_all_resolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = DeepSupervisionWrapper(torch.nn.CrossEntropyLoss(), np.array([0.7, 0.3]))
    monkeypatch.setattr(nnUNetTrainer, "_build_loss", lambda self: theirs)
    for sign in "-+":
        trainer = run(side(DIFFS[2], sign))["MyTrainer"]
        plain = SimpleNamespace(has_regions=False, ignore_label=2)
        fake = trainer.__new__(trainer)
        fake.configuration_manager, fake.label_manager = SimpleNamespace(batch_dice=True), plain
        loss = fake._build_loss()
    target = [batch()["label"], batch()["label"][..., ::2, ::2, ::2]]
    target[0][0, 0, 0] = 2
    logits = [torch.zeros(2, 2, *each.shape[2:], requires_grad=True) for each in target]
    loss(logits, target).backward()
    assert logits[1].grad.abs().sum() > 0
    assert not logits[0].grad[0, :, 0].any()  # ignored


@pytest.mark.parametrize("sign", "-+")
def test_both_loops_of_pytorch_give_a_loss(sign: str) -> None:
    labels = batch()["label"][:, 0].long()
    assert run(side(DIFFS[3], sign), logits=torch.zeros(2, 2, 16, 16, 16), labels=labels)["loss"] > 0

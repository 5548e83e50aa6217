"""Plans that run in seconds, and what is in the folder of such a run."""

from pathlib import Path

from lesionloss.bench.plan import Plan

METRICS = ["dice", "recall", "hd95", "lesion_f1"]


def tiny_plan(folder: Path, losses: tuple[str, ...] = ("dice", "hytver"), **changes: object) -> Plan:
    record = {
        "name": "tiny",
        "losses": losses,
        "baseline_loss": losses[0],
        "metrics": METRICS,
        "folds": 2,
        "seeds": [1],
        "data": {"source": str(folder), "layout": "msseg2", "margin_voxels": 2},
        "network": {"text": "unet3d(filters=4, levels=2)"},
        "training": {"steps": 3, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "float32"},
    }
    return Plan.model_validate(record | changes)


def trial_folders(out: Path) -> list[Path]:
    return sorted(path for path in (out / "trials").iterdir() if path.suffix == "")


def network_folder(out: Path) -> Path:
    """The first trial that trained a network."""
    return next(folder for folder in trial_folders(out) if (folder / "model.json").is_file())

"""What is fuzzed: every reader of files that may come from outside, each with a folder that it reads as it is."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from safetensors.torch import save_file

from example_trials import TRIAL
from lesionloss.bench.bookkeeping.trial_list import FILE as TRIAL_LIST
from lesionloss.bench.bookkeeping.trial_list import TrialList, read_trial_list, store_trial_list
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import read_run_cohort
from lesionloss.cli.evaluate_options import threshold_in
from lesionloss.core.errors import LesionLossError
from lesionloss.core.files import sha256_of
from lesionloss.core.locks import read_lock
from lesionloss.core.randomness import torch_generator
from lesionloss.core.sealed_json import SEAL, seal
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.fold_files import load_folds, save_folds
from lesionloss.data.folds import make_folds
from lesionloss.data.nifti import header_orientation, read_labels, read_mask, read_probability, read_volume, repairs_of
from lesionloss.data.preparation.import_prepared import import_prepared
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe, load_recipe
from lesionloss.data.prepared import load_channels, load_prepared, load_record
from lesionloss.inference.predict import sources_in
from lesionloss.networks import build_network
from lesionloss.networks.bundle import BundleRecord, load_bundle, save_bundle
from lesionloss.networks.tensor_files import read_tensors
from lesionloss.report.history import epoch_bands, loss_bands, vanishing_gradients
from lesionloss.runs.load_run import load
from lesionloss.runs.run_files import read_arrays, read_toml
from lesionloss.runs.scores import read_scores
from lesionloss.runs.verify import verify_run
from lesionloss.synth.profiles import as_toml, load_settings, profile_settings
from lesionloss.training.checkpoint import checksum, read
from make_cohort import write_cohort
from make_run import TINY_CASES, Made, make_run, seal_run

Reader = Callable[[Path], object]
RUN = Made(patients=4, losses=("dice_ce", "dice"), difference=False, seeds=(1,), metrics=("dice", "hd95"), **TINY_CASES)
NETWORK = "unet3d(filters=2, levels=2, group=2, inputs=1)"
TABLE = """patient,case,visit1,visit2,reference,brain
anna,anna-1,a.nii.gz,b.nii.gz,c.nii.gz,
anna,anna-2,sub/a.nii.gz,b.nii.gz,c.nii.gz,c.nii.gz
ben,,a.nii.gz,"b.nii.gz",/nowhere/c.nii.gz,
"""


@dataclass(frozen=True)
class Target:
    """A `file` of a `folder` that a reader reads; `mend` makes checksums anew, as a stranger can.

    Args:
        name: Of the target.
        folder: The folder, whole.
        file: The file that is damaged, inside the folder.
        readers: Are called with the folder.
        mend: Makes checksums anew.
        mended: The files that this changes.
    """

    name: str
    folder: Path
    file: str
    readers: tuple[Reader, ...]
    mend: Callable[[Path], object] | None = None
    mended: tuple[str, ...] = ()


def targets(root: Path) -> dict[str, Target]:
    """All targets, their folders made under `root`."""
    made = [
        *_images(root / "images"),
        *_tables(root / "table"),
        *_raw(root),
        *_run(root / "run"),
        *_cohort(root),
        *_bundle(root / "bundle"),
        *_settings(root / "settings"),
    ]
    return {target.name: target for target in made}


def _of(name: str, reader: Callable[..., object], *more: object) -> Reader:
    """A reader of the folder that reads a file of it."""
    return lambda folder: reader(folder / name, *more)


def _images(folder: Path) -> list[Target]:
    folder.mkdir(parents=True)
    array = np.random.default_rng(0).normal(100, 9, (9, 8, 7)).astype(np.float32)
    mask = (array > 105).astype(np.uint8)
    affine = np.diag([1.0, -1, 2, 1])
    kinds = {
        "image": (nibabel.Nifti1Image, array),
        "mask": (nibabel.Nifti1Image, mask),
        "two": (nibabel.Nifti2Image, mask),
    }
    found = []
    for kind, (maker, content) in kinds.items():
        for ending in (".nii", ".nii.gz"):
            place = folder / f"{kind}{ending}"
            maker(content, affine).to_filename(place)
            names = (read_volume, read_mask, read_labels, read_probability)
            readers = [_of(place.name, reader) for reader in names]
            readers += [_of(place.name, repairs_of, is_mask) for is_mask in (True, False)]
            readers += [_of(place.name, lambda path: (read_labels(path), header_orientation(path)))]
            found.append(Target(f"{kind}{ending}", folder, place.name, tuple(readers)))
    return found


def _tables(folder: Path) -> list[Target]:
    (folder / "sub").mkdir(parents=True)
    (folder / "manifest.csv").write_text(TABLE)
    for name in ("a", "b", "c", "sub/a"):
        (folder / f"{name}.nii.gz").write_bytes(b"")
    return [Target("manifest.csv", folder, "manifest.csv", (lambda at: open_cohort(f"csv:{at}"),))]


def _raw(root: Path) -> list[Target]:
    """Data sets of nnU-Net and BIDS."""
    nnunet, bids = root / "nnunet", root / "bids"
    image = nibabel.Nifti1Image(np.random.default_rng(0).normal(9, 1, (8, 8, 8)).astype(np.float32), np.eye(4))
    labels = nibabel.Nifti1Image(np.eye(8, dtype=np.uint8)[None].repeat(8, 0), np.eye(4))
    for case in ("p_1", "p_2", "q_1", "q_2"):
        for place, content in ((f"imagesTr/{case}_0000", image), (f"labelsTr/{case}", labels)):
            (nnunet / place).parent.mkdir(parents=True, exist_ok=True)
            content.to_filename(nnunet / f"{place}.nii.gz")
        image = nibabel.Nifti1Image(np.asarray(image.dataobj) + 1, np.eye(4))
    described = {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}
    (nnunet / "dataset.json").write_text(json.dumps(described | {"numTraining": 4}))
    (nnunet / "patientsTr.json").write_text(json.dumps({"p": ["p_1", "p_2"], "q": ["q_1", "q_2"]}))
    for session in ("1", "2", "10"):
        stem = bids / f"sub-1/ses-{session}/anat/sub-1_ses-{session}"
        stem.parent.mkdir(parents=True)
        for name in ("FLAIR", "label-lesion_mask"):
            Path(f"{stem}_{name}.nii.gz").write_bytes(gzip.compress(b""))
    (bids / "sub-1/sub-1_sessions.tsv").write_text(
        "session_id\tacq_time\tage\n" + "".join(f"ses-{n}\t20{n:0>2}-01-01\tn/a\n" for n in ("1", "2", "10"))
    )

    def subjects(at: Path) -> object:
        cohort = open_cohort(f"nnunet:{at}")
        return [load_subject(cohort, files) for files in cohort.cases[:1]]

    return [
        Target("dataset.json", nnunet, "dataset.json", (subjects,)),
        Target("patientsTr.json", nnunet, "patientsTr.json", (subjects,)),
        Target("sessions.tsv", bids, "sub-1/sub-1_sessions.tsv", (lambda at: open_cohort(f"bids:{at}"),)),
    ]


def _whole_run(at: Path) -> object:
    """What compare and report read of a run."""
    found = load(at)
    for metric in found.metrics:
        found.metric_scores(metric)
    for case in found.cohort[:1]:
        found.case(case.name)
    for trial in found.trials[:1]:
        found.machine(trial.key)
        found.probability(trial.key, next(iter(trial.record.get("test", ["none"])), "none"))
    return found.baseline_loss, found.declared_test, loss_bands(found), epoch_bands(found), vanishing_gradients(found)


def _run(folder: Path) -> list[Target]:
    make_run(folder, RUN)
    trial = sorted((folder / "trials").iterdir())[0]
    test = sorted((trial / "predictions").iterdir())[0]
    manifests = tuple(str(path.relative_to(folder)) for path in folder.glob("trials/*/manifest.json"))
    names = (
        *("plan.toml", "cohort/index.json", f"cohort/{RUN.case(0)}.npz"),
        *(
            str((trial / name).relative_to(folder))
            for name in ("trial.toml", "machine.json", "history.csv", "scores.csv")
        ),
        str(test.relative_to(folder)),
    )
    kinds = {name: Path(name).name if "predictions" not in name else "prediction.npz" for name in names}
    found = [
        Target(f"run {kinds[name]}", folder, name, (_whole_run, verify_run), seal_run, manifests) for name in names
    ]
    manifest = manifests[0]
    place = Path(manifest).parent
    return [
        *found,
        Target("run manifest.json", folder, manifest, (_whole_run, verify_run)),
        Target("manifest.json, sealed", folder, manifest, (_whole_run, verify_run), _seal(manifest), (manifest,)),
        Target("scores.csv", folder, str(place / "scores.csv"), (lambda at: read_scores(at / place / "scores.csv"),)),
        Target("trial.toml", folder, str(place / "trial.toml"), (lambda at: read_toml(at / place / "trial.toml"),)),
        Target(
            "arrays.npz",
            folder,
            str(test.relative_to(folder)),
            (lambda at: read_arrays(at / test.relative_to(folder)),),
        ),
    ]


def _seal(name: str) -> Callable[[Path], object]:
    """Make the checksum of a JSON file anew, where it still is an object."""

    def mend(folder: Path) -> None:
        path = folder / name
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            text = seal(record) if isinstance(record, dict) and SEAL in record else ""
        except (ValueError, RecursionError):
            return
        if text:
            path.write_text(text, encoding="utf-8", errors="replace")

    return mend


def _cohort(root: Path) -> list[Target]:
    raw, folder = write_cohort(root / "raw", (2, 1)), root / "prepared" / "cohort"
    prepare_cohort(open_cohort(f"msseg2:{raw}"), folder, PreparationRecipe())
    case = next(folder.glob("*.npz")).name

    def copied(at: Path) -> object:
        shutil.rmtree(root / "copied", ignore_errors=True)
        return import_prepared(str(at / "cohort"), root / "copied")

    whole = (
        lambda at: load_index(at / "cohort").patient_loads(),
        lambda at: read_run_cohort(at).read([entry.name for entry in load_index(at / "cohort").cases]),
        lambda at: sources_in(str(at / "cohort")),
        copied,
    )
    readers: tuple[Reader, ...] = (load_channels, load_record, lambda path: load_prepared(path).content_sha256)
    one = tuple(_of(f"cohort/{case}", reader) for reader in readers)
    return [
        Target("index.json", folder.parent, "cohort/index.json", whole),
        Target("case.npz", folder.parent, f"cohort/{case}", one),
    ]


def _bundle(folder: Path) -> list[Target]:
    record = BundleRecord(
        network=NETWORK, channels=("followup",), window=(16, 16, 16), training={"spacing_mm": [1, 1, 1]}
    )
    save_bundle(folder, build_network(NETWORK, torch_generator("fuzz")), record)
    tensors, values = (
        {"a": torch.arange(12.0).reshape(3, 4), "b": torch.arange(5)},
        {"format": 2, "key": "k", "step": 1},
    )
    text = json.dumps(values)
    save_file(tensors, folder / "step-1.safetensors", metadata={"record": text, "sha256": checksum(text, tensors)})
    torch.save({"state_dict": tensors}, folder / "weights.pth")

    def own_weights(at: Path) -> None:
        """The digest of the weights in the record, made anew."""
        written = json.loads((at / "model.json").read_text())
        digest = sha256_of(at / "model.safetensors")
        (at / "model.json").write_text(seal(written | {"weights_sha256": digest}))

    def bundle(at: Path) -> object:
        return load_bundle(at)

    weights = (lambda at: read_tensors(at / "model.safetensors"), bundle)
    return [
        Target("model.json", folder, "model.json", (bundle,)),
        Target("model.json, sealed", folder, "model.json", (bundle,), _seal("model.json"), ("model.json",)),
        Target("model.safetensors", folder, "model.safetensors", weights, own_weights, ("model.json",)),
        Target("checkpoint.safetensors", folder, "step-1.safetensors", (lambda at: read(at / "step-1.safetensors"),)),
        Target("weights.pth", folder, "weights.pth", (lambda at: read_tensors(at / "weights.pth"),)),
    ]


def _settings(folder: Path) -> list[Target]:
    folder.mkdir(parents=True)
    (folder / "plan.toml").write_text(Plan.preset("quickstart").to_toml())
    (folder / "recipe.toml").write_text(PreparationRecipe().to_toml())
    (folder / "synth.toml").write_text(as_toml(profile_settings("demo")))
    cases = {f"{patient}-{scan}": patient for patient in "abcdef" for scan in (1, 2)}
    save_folds(make_folds(dict.fromkeys("abcdef", 1.0), 2, 1), folder / "folds.json")
    (folder / "list.json").write_text(
        json.dumps([{"train": ["a", "b-1"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}])
    )
    (folder / "thresholds.json").write_text(json.dumps({"chosen": {"threshold": 0.4}, "metric": "dice"}))
    (folder / "lock.json").write_text(
        json.dumps({"host": "h", "scope": "s", "pid": 1, "started": 1, "since": 1.5, "token": "t"})
    )
    store_trial_list(folder, TrialList((TRIAL,), 1, 10**6))
    names: dict[str, tuple[Reader, ...]] = {
        "plan.toml": (Plan.load,),
        "recipe.toml": (load_recipe,),
        "synth.toml": (load_settings,),
        "folds.json": (lambda path: load_folds(path, cases),),
        "list.json": (lambda path: load_folds(path, cases),),
        "thresholds.json": (threshold_in,),
        "lock.json": (read_lock,),
        TRIAL_LIST: (lambda path: read_trial_list(path.parent),),
    }
    made = [
        Target(name, folder, name, tuple(_of(name, reader) for reader in readers)) for name, readers in names.items()
    ]
    readers = made[-1].readers
    return [*made, Target(f"{TRIAL_LIST}, sealed", folder, TRIAL_LIST, readers, _seal(TRIAL_LIST), (TRIAL_LIST,))]


def outcome(target: Target) -> str:
    """Call all readers of a target; whether the first of them read it ("read") or not ("refused").

    Raises:
        ValueError: A message has several lines.
        BaseException: A reader ended with another error than ours.
    """
    messages = []
    for reader in target.readers:
        messages.append("")
        try:
            reader(target.folder)
        except LesionLossError as error:
            messages[-1] = str(error) or "no message"
    if any("\n" in message for message in messages):
        raise ValueError(f"several lines: {messages}")
    return "refused" if messages[0] else "read"

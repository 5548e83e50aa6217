"""Where the results of a case go, plainly or as BIDS derivatives."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import UsageError
from lesionloss.core.files import write_text
from lesionloss.core.version import __version__

BIDS_VERSION = "1.10.0"


@dataclass(frozen=True)
class OutputFiles:
    """The files of one case; `record` is written last and says that the others are complete."""

    mask: Path
    probability: Path
    lesions: Path
    sheet: Path
    record: Path

    def all(self) -> tuple[Path, ...]:
        """All five."""
        return (self.mask, self.probability, self.lesions, self.sheet, self.record)

    @property
    def lock(self) -> Path:
        """The file that says which process works on the case."""
        return self.record.with_suffix(".lock")

    def inside(self, folder: Path) -> "OutputFiles":
        """The same names in another folder."""
        return OutputFiles(*(folder / path.name for path in self.all()))

    def probability_of(self, kind: str) -> Path:
        """The file of one class, where there are several."""
        label = re.sub(r"[^A-Za-z0-9]", "", kind)
        name = self.probability.name
        if name.startswith("sub-"):
            return self.probability.with_name(name.replace("label-lesion", f"label-{label}"))
        return self.probability.with_name(f"probability_{label}.nii.gz")


def plain_output_files(folder: Path) -> OutputFiles:
    """Plain names in a folder."""
    return OutputFiles(
        mask=folder / "new_lesions.nii.gz",
        probability=folder / "probability.nii.gz",
        lesions=folder / "lesions.csv",
        sheet=folder / "pictures.png",
        record=folder / "prediction.json",
    )


def bids_output_files(out: Path, patient: str, session: str) -> OutputFiles:
    """Names of BIDS derivatives under `out`.

    Raises:
        UsageError: for a patient whose name has no letter and no digit.
    """
    subject, ses = (re.sub(r"[^A-Za-z0-9]", "", text.removeprefix("sub-")) for text in (patient, session))
    if not subject:
        raise UsageError(f"--bids needs patients named with letters or digits, got {patient!r}; rename the files")
    parts = [f"sub-{subject}", *([f"ses-{ses}"] if ses else [])]
    stem = out.joinpath(*parts, "anat") / "_".join(parts)
    named = f"{stem}_label-lesion_desc-new"
    return OutputFiles(
        mask=Path(f"{named}_mask.nii.gz"),
        probability=Path(f"{named}_probseg.nii.gz"),
        lesions=Path(f"{named}_lesions.tsv"),
        sheet=Path(f"{named}_pictures.png"),
        record=Path(f"{named}_mask.json"),
    )


def describe_dataset(out: Path) -> None:
    """Write the dataset_description.json of BIDS derivatives, unless there is one."""
    path = out / "dataset_description.json"
    if not path.exists():
        record = {
            "Name": "New lesions between two visits",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "lesionloss", "Version": __version__}],
        }
        write_text(path, json.dumps(record, indent=1) + "\n")

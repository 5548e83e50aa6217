"""Small DICOM series, written with SimpleITK."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK

from lesionloss.data.dicom_headers import kept_locale

PATIENT = {
    "0010|0010": "MUSTER^ANNALENA",
    "0010|0020": "PID-47110815",
    "0010|0030": "19770401",
    "0008|0080": "Klinik Sonnenhof",
    "0008|0090": "HOUSE^GREGORY",
    "0008|0050": "ACC-998877",
}
PRIVATE = ("MUSTER", "ANNALENA", "47110815", "19770401", "Sonnenhof", "GREGORY", "998877", "20260211", "20251102")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def write_dicom_series(
    folder: Path,
    values: np.ndarray,
    *,
    date: str = "20260211",
    number: int = 3,
    description: str = "FLAIR sag",
    directions: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float, float] = (0.7, 0.9, 3.0),
    origin: tuple[float, float, float] = (-3.0, -4.0, -10.0),
    tags: Mapping[str, str] = PATIENT,
) -> list[Path]:
    """Write an int16 volume (columns, rows, slices), a file for each slice, with names in no order.

    Args:
        spacing: between columns, rows and slices, in mm.
        origin: of the first voxel, towards left, back and top.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.reshape(directions, (2, 3))
    files = []
    for place in range(values.shape[2]):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values[..., place].T))
        image.SetSpacing(spacing[:2])
        position = np.array(origin) + place * spacing[2] * np.cross(row, column)
        words = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0060": "MR",
            "0008|0020": date,
            "0008|103e": description,
            "0018|0050": str(spacing[2]),
            "0020|000d": "1.2.826.0.1.1",
            "0020|000e": f"1.2.826.0.1.1.{number}.{date}",
            "0020|0011": str(number),
            "0020|0013": str(place + 1),
            "0020|0032": "\\".join(f"{each:.6g}" for each in position),
            "0020|0037": "\\".join(f"{each:g}" for each in directions),
            **tags,
        }
        for key, word in words.items():
            image.SetMetaData(key, word)
        files.append(folder / f"IM{(7 * place + 3) % values.shape[2]:04d}")
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(files[-1]))
        with kept_locale():
            writer.Execute(image)
    return files

"""Every range that a synthetic cohort is drawn from, with its limits and its meaning; written as TOML."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lesionloss.core.errors import UsageError
from lesionloss.core.validation_errors import explain_validation_error

Range = tuple[float, float]
Counts = tuple[int, int]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Edge = Annotated[float, Field(ge=0.5, le=4, allow_inf_nan=False)]
Three = tuple[float, float, float]
Four = tuple[float, float, float, float]


def _within(low: float, high: float, default: tuple[float, ...], description: str) -> Any:
    """A field of one or more numbers, each between `low` and `high`."""
    return Field(default, description=description, json_schema_extra={"low": low, "high": high})


class SettingsGroup(BaseModel):
    """Base of all tables of settings: frozen, without unknown keys, each range within its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        extra = cls.model_fields[str(info.field_name)].json_schema_extra
        if not isinstance(extra, dict):
            return value
        low, high = float(str(extra["low"])), float(str(extra["high"]))
        if not all(low <= number <= high for number in value):
            raise ValueError(f"must lie between {low:g} and {high:g}, got {list(value)}")
        if len(value) == 2 and value[0] > value[1]:
            raise ValueError(f"the lower end must come first, got {list(value)}")
        if len(value) > 2 and sum(value) <= 0:
            raise ValueError(f"at least one weight must be above 0, got {list(value)}")
        return value


class AnatomySettings(SettingsGroup):
    """The head and brain of a person."""

    scale: Range = _within(0.8, 1.05, (0.85, 0.99), "size of the head along each axis, 1 is MNI152")
    rotation_deg: Range = _within(-15, 15, (-6.0, 6.0), "rotation of the head about each axis")
    deformation_mm: Range = _within(0, 6, (2.0, 4.0), "sd of the smooth displacement, along each axis")
    ventricle_mm: Range = _within(-3, 8, (-1.5, 3.5), "widening of the ventricles")
    sulcus: Range = _within(0, 6, (1.0, 3.5), "log-odds of fluid in the middle of a sulcus: deeper, wider")
    sharpness: Range = _within(0.5, 4, (1.4, 2.4), "exponent of the averaged tissue maps: sharper borders")
    atrophy_mm: Range = _within(0, 2, (0.0, 0.35), "widening of the ventricles between the visits")


class ContrastSettings(SettingsGroup):
    """Signals relative to normal white matter, before the scanner's gamma; drawn once per protocol."""

    grey: Range = _within(0.8, 2, (1.04, 1.3), "signal of the cortex")
    deep_grey: Range = _within(0.6, 2, (0.9, 1.15), "signal of basal ganglia and thalami")
    fluid: Range = _within(0, 0.9, (0.05, 0.4), "signal of suppressed fluid")
    rim: Range = _within(0, 1, (0.0, 0.4), "signal that the lining of the ventricles adds")
    caps: Range = _within(0, 1, (0.0, 0.4), "signal that the caps of their horns add")
    septum: Range = _within(0, 1, (0.0, 0.6), "signal that the septum between them adds")
    shading: Range = _within(0, 0.3, (0.01, 0.06), "sd of slow variation within tissue, the person's own")
    texture: Range = _within(0, 0.3, (0.01, 0.04), "sd of fine variation within tissue, the person's own")
    surroundings: Range = _within(0, 3, (0.0, 0.9), "signal beyond the brain's surface")
    jitter: Range = _within(0, 0.3, (0.0, 0.03), "sd of a protocol's contrasts from visit to visit")


class LookAlikeSettings(SettingsGroup):
    """Structures that look like lesions or like change and are neither."""

    spots: Counts = _within(0, 200, (2, 40), "bright spots in grey matter and at its border, at both visits")
    spot_contrast: Range = _within(0, 3, (0.1, 0.5), "signal that a bright spot adds")
    passing: Counts = _within(0, 200, (0, 25), "faint spots at one visit only, for each visit")
    passing_contrast: Range = _within(-1, 1, (-0.25, 0.3), "signal that a passing spot adds or removes")
    vessels: Counts = _within(0, 200, (0, 20), "vessels along sulci and cisterns, bright or dark")
    vessel_contrast: Range = _within(-1, 2, (-0.4, 0.5), "signal that a vessel adds or removes")
    flow: Counts = _within(0, 100, (0, 12), "flow artefacts in fluid at one visit only, for each visit")
    flow_contrast: Range = _within(0, 3, (0.2, 0.9), "signal that a flow artefact adds")
    plexus: Range = _within(0, 2, (0.0, 0.7), "signal that the choroid plexus adds in the trigones")
    fluid_shading: Range = _within(0, 2, (0.1, 0.6), "sd of the log of the fluid's signal, for each visit")


class LesionSettings(SettingsGroup):
    """Lesions and their change. Counts are drawn log-uniformly, volumes log-normally."""

    stable_share: Share = Field(default=0.2, description="share of patients without a new lesion")
    new_count: Counts = _within(1, 300, (1, 30), "new lesions of a patient that has any")
    old_count: Counts = _within(0, 300, (4, 110), "lesions that are there at baseline")
    enlarging: Range = _within(0, 1, (0.0, 0.25), "share of the old lesions that grow")
    shrinking: Range = _within(0, 1, (0.0, 0.25), "share that shrink or fade")
    vanishing: Range = _within(0, 1, (0.0, 0.1), "share that vanish")
    new_volume_mm3: Range = _within(1, 5000, (25, 140), "a patient's median volume of new lesions")
    old_volume_mm3: Range = _within(1, 5000, (30, 200), "a patient's median volume of old lesions")
    volume_spread: Range = _within(0, 3, (0.7, 1.3), "sd of the log of volumes within a patient")
    volume_limits_mm3: Range = _within(1, 30000, (4, 6000), "smallest and largest lesion")
    contrast: Range = _within(0, 4, (0.12, 0.7), "signal that a lesion adds in its core")
    contrast_jitter: Range = _within(0, 1, (0.0, 0.08), "sd of an unchanged lesion's signal between visits")
    softness: Range = _within(0, 1, (0.2, 0.8), "how much weaker a lesion's border is than its core")
    elongation: Range = _within(1, 4, (1.0, 2.4), "length over breadth of the ellipsoid it starts from")
    roughness: Range = _within(0, 1, (0.15, 0.5), "sd of the log of the speed of growth in space")
    growth: Range = _within(1.05, 10, (1.3, 4.0), "volume ratio of an enlarging lesion's visits")
    shrinkage: Range = _within(1.05, 10, (1.2, 4.0), "volume ratio of a shrinking lesion's visits")
    fading: Range = _within(0, 1, (0.0, 0.7), "share of its signal that a shrinking lesion also loses")
    places: Four = _within(
        0, 1000, (0.4, 0.27, 0.25, 0.08), "weights of periventricular, deep, juxtacortical, infratentorial sites"
    )


class ScannerSettings(SettingsGroup):
    """How a visit is measured; drawn once per protocol, or for each visit where the key says so."""

    in_plane_mm: Range = _within(0.5, 2, (0.5, 1.0), "voxel size within a slice")
    slice_mm: Range = _within(0.5, 6, (1.0, 3.3), "slice thickness and distance")
    isotropic_share: Share = Field(
        default=0.25, description="share of protocols with slices as thick as voxels are wide"
    )
    planes: Three = _within(0, 1000, (0.65, 0.25, 0.1), "weights of axial, sagittal and coronal slices")
    profile: Range = _within(0.3, 2, (0.7, 1.1), "full width of the slice profile, in slices")
    kept: Range = _within(0.3, 1, (0.65, 1.0), "share of k-space measured within a slice; less of it rings and blurs")
    noise: Range = _within(0, 0.5, (0.02, 0.09), "sd of each channel's noise, in white matter's signal")
    gamma: Range = _within(0.5, 2, (0.85, 1.2), "exponent of the signal")
    scale: Range = _within(10, 20000, (150, 1500), "image value of white matter, for each visit")
    bias: Range = _within(0, 0.5, (0.01, 0.08), "sd of the log of the bias field, for each visit")
    window_share: Share = Field(default=0.15, description="share of protocols that cut off high values")
    window: Range = _within(1.1, 10, (1.5, 2.2), "where high values are cut off, in white matter's signal")
    tilt_deg: Range = _within(0, 30, (0.0, 8.0), "tilt of the scanner's grid against the head, for each visit")
    motion_share: Share = Field(default=0.15, description="share of visits during which the head moved")
    motion_mm: Range = _within(0, 10, (0.2, 1.2), "how far the head moved")


class FollowUpSettings(SettingsGroup):
    """How the two visits differ as images, and how they are registered."""

    other_protocol_share: Share = Field(
        default=0.25, description="share of patients whose follow-up has another protocol"
    )
    misregistration_mm: Range = _within(0, 3, (0.2, 0.8), "mean residual displacement over the brain")
    cut_share: Share = Field(default=0.1, description="share of visits that lack the lowest or highest part")
    cut_mm: Range = _within(0, 60, (3.0, 20.0), "thickness of the part that is lacking")
    own_grid_share: Share = Field(default=0.5, description="share of patients whose follow-up is not resampled")


class SynthSettings(SettingsGroup):
    """What a whole cohort shares."""

    spacing_mm: Edge | Literal["scanner"] = Field(
        2.0, description='voxel size of the files, isotropic; "scanner" keeps the voxels of the follow-up\'s protocol'
    )
    ground_truth: Literal["new", "positive", "change"] = Field(
        "new", description="what ground_truth.nii.gz holds: new lesions, new or enlarging ones, change of either sign"
    )
    axes: Literal["RAS", "acquired"] = Field(
        "RAS", description="order and direction of the files' axes; \"acquired\": LPS, PSR or LSP by the slices' plane"
    )
    anatomy: AnatomySettings = AnatomySettings()
    contrast: ContrastSettings = ContrastSettings()
    look_alikes: LookAlikeSettings = LookAlikeSettings()
    lesions: LesionSettings = LesionSettings()
    scanner: ScannerSettings = ScannerSettings()
    followup: FollowUpSettings = FollowUpSettings()

    def __init__(self, **given: Any) -> None:
        """Check all keys and values.

        Args:
            **given: Values by key, tables as mappings or records.

        Raises:
            UsageError: Keys or values are wrong; names every error at once, each with its key.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UsageError(explain_validation_error(error, SynthSettings, "synth settings")) from error

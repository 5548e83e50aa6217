"""Synthetic longitudinal cohorts: pairs of FLAIR-like visits with lesions that come, grow, shrink, go and stay.

Anatomy comes from the MNI152 tissue maps inside nilearn's wheel (Fonov et al. 2011), so nothing is downloaded;
everything else is drawn from a seed and documented ranges.
"""

from lesionloss.synth.patient import SyntheticPatient, synthesise, synthetic_patients
from lesionloss.synth.patient_plan import PatientPlan, plan_patient
from lesionloss.synth.profiles import PROFILES, as_toml, load_settings, profile_settings
from lesionloss.synth.settings import SynthSettings
from lesionloss.synth.write_cohort import write_cohort

__all__ = [
    "PROFILES",
    "PatientPlan",
    "SynthSettings",
    "SyntheticPatient",
    "as_toml",
    "load_settings",
    "plan_patient",
    "profile_settings",
    "synthesise",
    "synthetic_patients",
    "write_cohort",
]

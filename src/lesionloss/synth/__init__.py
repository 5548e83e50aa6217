"""The built-in cohort: pairs of FLAIR-like visits with new lesions, drawn from nothing but a seed.

Anatomy comes from the MNI152 tissue maps inside nilearn's wheel (Fonov et al. 2011), so nothing is downloaded.
"""

from lesionloss.synth.cohort import write_cohort
from lesionloss.synth.patient import SyntheticPatient, synthesise
from lesionloss.synth.plan import PatientPlan, SynthSettings, plan_patient

__all__ = ["PatientPlan", "SynthSettings", "SyntheticPatient", "plan_patient", "synthesise", "write_cohort"]

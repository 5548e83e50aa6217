"""The groups under which `--help` shows options and commands, in their order."""

# of options
DATA = "Data"
LESIONS = "Patients and lesions"
STEPS = "Steps"
SCORES = "Scores"
DECISION = "What is lesion"
TRAINING = "Training"
REPEATABLE = "Speed and repeatability"
MACHINE = "Machine"
OUTPUT = "Output"
SHOW = "Show and stop"
OPTIONS = (DATA, LESIONS, STEPS, SCORES, DECISION, TRAINING, REPEATABLE, MACHINE, OUTPUT, SHOW)

# of commands
LOSSES = "Losses, metrics and networks"
IMAGES = "Images"
TRAIN = "Training and benchmarks"
RESULTS = "Results"
USE = "Trained models"

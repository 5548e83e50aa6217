"""What `lesionloss` alone shows: five tasks with their commands."""

START = """\
Is this loss really better for my lesions, or was it a lucky seed?

Try it, without data of your own (about four minutes):
  lesionloss bench quickstart --out runs/quick
  lesionloss report runs/quick

Compare losses on your patients:
  lesionloss data FOLDER                    what is in it, and what is wrong
  lesionloss init FOLDER --out plan.toml    a plan that fits it
  lesionloss bench plan.toml --out runs/mine
  lesionloss report runs/mine

Compare what was trained elsewhere (nnU-Net, MONAI, your own code):
  lesionloss collect runs/theirs --nnunet RESULTS --references LABELS
  lesionloss report runs/theirs

Find new lesions in two FLAIR visits, with the model of this package:
  lesionloss predict --baseline A.nii.gz --followup B.nii.gz --out predicted

Use a loss in your own training:
  lesionloss losses                         all of them, by families
  lesionloss losses hytver                  one: formula, options, source

All commands: lesionloss --help; one, with examples: lesionloss COMMAND --help
"""

"""The module that nnU-Net finds by `nnUNet_extTrainer`: any name of a trainer is an attribute of it."""

from lesionloss.integrations.nnunet.trainers import __getattr__ as __getattr__

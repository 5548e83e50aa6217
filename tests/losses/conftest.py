"""One thread for tensors: those of these tests are tiny."""

import torch

torch.set_num_threads(1)

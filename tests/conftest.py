"""Where there is no GPU, Triton's kernels run in its interpreter, which must be on before they are made."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

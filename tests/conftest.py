"""What has to be so before any test is imported."""

import os
import signal

import torch

# where there is no GPU, Triton's kernels run in its interpreter, which must be on before they are made
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# a shell starts what runs in its background with Ctrl-C ignored, and tests press it
signal.signal(signal.SIGINT, signal.default_int_handler)

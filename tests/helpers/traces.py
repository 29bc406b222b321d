"""What a probe leaves on a model."""

from torch import nn
from torch.jit import ScriptModule


def n_watched(model: nn.Module) -> int:
    """Count the modules in whose calls something takes part, by a hook of torch or in place of the call."""
    own = [module for module in model.modules() if not isinstance(module, ScriptModule)]
    return sum(
        bool(m._forward_hooks or m._forward_pre_hooks or m.__dict__.get("_compiled_call_impl")) for m in own
    )

"""Models that nobody here wrote, small and with random weights: nothing is downloaded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

N_STIMULI = 12
BATCH_SIZE = 7
"""So that the batches have 7 and 5 stimuli, which is no other size in these models."""


@dataclass(frozen=True, eq=False)
class Model:
    """How to build a model, and which of its layers are activations, as a reader of its code finds them."""

    name: str
    library: str
    build: Callable[[], tuple[nn.Module, Any]]
    activations: tuple[str, ...]
    functions: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    time_dim: int | None = None
    constant: tuple[str, ...] = ()
    pending: dict[str, str] = field(default_factory=dict)

    def built(self) -> tuple[nn.Module, Any]:
        """Return model and stimuli, always the same."""
        torch.manual_seed(0)
        return self.build()


ZOO: list[Model] = []


def model(name: str, library: str, *activations: str, **more: Any) -> Callable:
    """Enter a builder into the zoo, with globs for the modules that are activations.

    ``functions`` computes by hand, from what all modules gave, what functions called in the pass give.
    ``constant`` names modules that give the same for all stimuli. ``pending`` says which checks cannot pass
    yet: of ``default``, ``glob``, ``inventory`` and ``time``.
    """

    def enter(build: Callable) -> Callable:
        ZOO.append(Model(name, library, build, activations, **more))
        return build

    return enter


def images(size: int) -> torch.Tensor:
    """Return random images."""
    return torch.randn(N_STIMULI, 3, size, size)


def tokens() -> dict[str, torch.Tensor]:
    """Return random texts of 11 tokens, none of them special."""
    return {"input_ids": torch.randint(5, 90, (N_STIMULI, 11))}


TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
TEXT = {**TRANSFORMER, "vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
VISION = {**TRANSFORMER, "image_size": 16, "patch_size": 8}


# -- transformers ------------------------------------------------------------------------------------


@model(
    "GPT-2",
    "transformers",
    "h.*.mlp.act",
    time_dim=1,
)
def gpt2():
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    return GPT2Model(config), tokens()


@model(
    "Llama",
    "transformers",
    "layers.*.mlp.act_fn",
    time_dim=1,
)
def llama():
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(LlamaConfig(**TEXT, num_key_value_heads=2)), tokens()


@model(
    "BERT",
    "transformers",
    "encoder.layer.*.intermediate_act_fn",
    "pooler.activation",
    time_dim=1,
    constant=("embeddings.token_type_embeddings",),
)
def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**TEXT)), tokens()


@model(
    "CLIP, images",
    "transformers",
    "encoder.layers.*.mlp.activation_fn",
    time_dim=1,
)
def clip_images():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**VISION)), {"pixel_values": images(16)}


@model(
    "CLIP, texts",
    "transformers",
    "encoder.layers.*.mlp.activation_fn",
    time_dim=1,
)
def clip_texts():
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**TEXT)), tokens()


@model(
    "ViT",
    "transformers",
    "layers.*.mlp.activation_fn",
    "pooler.activation",
    time_dim=1,
)
def vit():
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**VISION)), {"pixel_values": images(16)}


@model("T5, encoder", "transformers", "encoder.block.*.DenseReluDense.act", time_dim=1)
def t5_encoder():
    from transformers import T5Config, T5EncoderModel

    config = T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=100)
    return T5EncoderModel(config), tokens()


def _of_mamba(fired: dict[str, torch.Tensor], mamba: nn.Module) -> dict[str, torch.Tensor]:
    """Compute the activations of Mamba blocks, which are functions, from what their linear layers give."""
    found = {}
    for i, block in enumerate(mamba.layers):
        name, mixer = f"layers.{i}.mixer", block.mixer
        hidden, gate = fired[f"{name}.in_proj"].transpose(1, 2).chunk(2, dim=1)
        kernel, n_channels = mixer.conv1d.weight, hidden.shape[1]
        padded = functional.pad(hidden, (kernel.shape[-1] - 1, 0))
        found[f"{name}.silu"] = functional.silu(
            functional.conv1d(padded, kernel, mixer.conv1d.bias, groups=n_channels)
        )
        steps = fired[f"{name}.x_proj"][..., : mixer.time_step_rank]
        found[f"{name}.softplus"] = functional.softplus(mixer.dt_proj(steps)).transpose(1, 2)
        found[f"{name}.silu_1"] = functional.silu(gate)
    return found


@model("Mamba", "transformers", functions=_of_mamba)
def mamba():
    from transformers import MambaConfig, MambaModel

    return MambaModel(
        MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, vocab_size=100)
    ), tokens()


@model(
    "wav2vec 2.0",
    "transformers",
    "feature_extractor.conv_layers.*.activation",
    "encoder.pos_conv_embed.activation",
    "encoder.layers.*.intermediate_act_fn",
)
def wav2vec2():
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        **TRANSFORMER,
        conv_dim=(16, 16),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
    )
    return Wav2Vec2Model(config), {"input_values": torch.randn(N_STIMULI, 400)}


@model(
    "ConvNeXt V2",
    "transformers",
    "encoder.stages.*.act",
)
def convnext_v2():
    from transformers import ConvNextV2Config, ConvNextV2Model

    config = ConvNextV2Config(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, patch_size=4)
    return ConvNextV2Model(config), {"pixel_values": images(32)}


# -- timm --------------------------------------------------------------------------------------------


@model("ConvNeXt", "timm", "stages.*.mlp.act")
def timm_convnext():
    from timm.models import ConvNeXt

    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 16, 16), num_classes=10), images(32)


@model("Swin", "timm", "layers.*.mlp.act")
def timm_swin():
    from timm.models import SwinTransformer

    swin = SwinTransformer(
        32, 4, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), num_classes=10
    )
    return swin, images(32)


@model("EfficientNet-B0", "timm", "bn?.act", "*.bn1.act", "blocks.[1-9].*.bn2.act", "*.se.act1", "*.se.gate")
def timm_efficientnet():
    import timm

    return timm.create_model("efficientnet_b0", num_classes=10), images(32)


@model(
    "MobileNetV3", "timm", "bn1.act", "*.bn1.act", "blocks.[1-9].*.bn2.act", "*.se.act1", "*.se.gate", "act2"
)
def timm_mobilenet():
    import timm

    return timm.create_model("mobilenetv3_small_050", num_classes=10), images(32)


@model("MLP-Mixer", "timm", "blocks.*.act")
def mixer():
    from timm.models import MlpMixer

    return MlpMixer(10, img_size=32, patch_size=8, embed_dim=32, num_blocks=2), images(32)


@model("SE-ResNet-18", "timm", "act1", "*.act1", "*.act2", "*.se.act", "*.se.gate")
def seresnet():
    import timm

    return timm.create_model("seresnet18", num_classes=10), images(32)


@model("MambaOut", "timm", "stem.act", "stages.*.act", "head.pre_logits.act")
def mambaout():
    import timm

    return timm.create_model("mambaout_femto", num_classes=10, depths=(1, 1, 1, 1)), images(32)


# -- torchvision -------------------------------------------------------------------------------------


@model("ResNet-18", "torchvision", "relu", "*.relu")
def resnet18():
    from torchvision.models import resnet18

    return resnet18(num_classes=10), images(32)


@model("Swin", "torchvision", "features.*.mlp.1")
def torchvision_swin():
    from torchvision.models import SwinTransformer

    swin = SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10)
    return swin, images(32)


@model("ConvNeXt", "torchvision", "features.*.block.4")
def torchvision_convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=10), images(32)


def _of_googlenet(fired: dict[str, torch.Tensor], googlenet: nn.Module) -> dict[str, torch.Tensor]:
    """Compute ``F.relu`` of what each batch normalisation gives."""
    return {f"{name[:-3]}.relu": value.relu() for name, value in fired.items() if name.endswith(".bn")}


@model("GoogLeNet", "torchvision", functions=_of_googlenet)
def googlenet():
    from torchvision.models import GoogLeNet

    return GoogLeNet(10, aux_logits=False, init_weights=False), images(32)

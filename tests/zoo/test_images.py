"""Images: where the channels are, detection, films, names of functions, and gates that are no units."""

from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
import torchvision

import ann2neo

from . import special
from .capture import capture, cut, first_tensor, spikes
from .checks import built, check, quiet, recorded
from .models import BATCH_SIZE, N_STIMULI, ZOO, images
from .special import OF_FRAMES, OF_IMAGES

pytestmark = pytest.mark.zoo


def of_zoo(library, name):
    """Return a model of the zoo and its stimuli."""
    model = next(each for each in ZOO if (each.library, each.name) == (library, name))
    return built(library, model.built)


# -- channel, y and x --------------------------------------------------------------------------------


CHANNELS_LAST = {
    ("timm", "MambaOut"): "stages.0.blocks.0.act",
    ("timm", "ConvNeXt"): "stages.0.blocks.0.mlp.act",
    ("torchvision", "ConvNeXt"): "features.1.0.block.4",
    ("torchvision", "Swin"): "features.1.0.mlp.1",
    ("transformers", "ConvNeXt V2"): "encoder.stages.0.layers.0.act",
}
"""A layer (y, x, channel) of each."""


@pytest.fixture(params=CHANNELS_LAST, ids=" ".join)
def channels_last(request):
    model, stimuli = of_zoo(*request.param)
    layer = CHANNELS_LAST[request.param]
    height, width, n_channels = capture(model, cut(stimuli, N_STIMULI)).values[layer].shape[1:]
    assert height == width < n_channels
    y, x, channel = np.unravel_index(np.arange(height * width * n_channels), (height, width, n_channels))
    return model, stimuli, layer, {"channel": channel, "y": y, "x": x}


def test_coordinates_are_right_or_unknown(channels_last):
    model, stimuli, layer, places = channels_last
    units = recorded(model, stimuli, layer)[0].units
    for name, right in places.items():
        assert (units[name] == -1).all() or (units[name] == right).all(), name


def test_the_user_can_tell_where_the_channels_are(channels_last):
    model, stimuli, layer, places = channels_last
    units = recorded(model, stimuli, layer, channel_dim=-1)[0].units
    for name, right in places.items():
        np.testing.assert_array_equal(units[name], right, name)


@pytest.mark.parametrize(
    ("library", "name", "layer"),
    [("timm", "EfficientNet-B0", "bn1.act"), ("torchvision", "ResNet-18", "relu")],
)
def test_coordinates_of_channels_first_are_right(library, name, layer):
    network, stimuli = of_zoo(library, name)
    shape = capture(network, cut(stimuli, N_STIMULI)).values[layer].shape[1:]
    units = recorded(network, stimuli, layer)[0].units
    channel, y, x = np.unravel_index(np.arange(len(units)), shape)
    np.testing.assert_array_equal(units[["channel", "y", "x"]], np.stack([channel, y, x], 1))


# -- detection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, list(OF_IMAGES)], ids=["default", "named"])
def test_lists_of_images_are_stimuli(layers):
    detector, batches = special.detector(), special.lists_of_images(BATCH_SIZE)
    activations = capture(detector, [(batch, len(batch)) for batch in batches]).chosen(OF_IMAGES)
    recording, warned = recorded(detector, batches, layers)
    for layer, activation in activations.items():
        np.testing.assert_array_equal(recording.raster(layer), spikes(activation), layer)
    assert recording.n_bins == N_STIMULI
    if layers is None:  # proposals are no images
        assert not any("box_head" in layer for layer in recording.layers)
        assert any("roi_heads.box_head.relu" in each for each in warned)


def test_a_probe_leaves_proposals_out():
    detector, batches = special.detector(), special.lists_of_images(BATCH_SIZE)
    activations = capture(detector, [(batch, len(batch)) for batch in batches]).chosen(OF_IMAGES)
    with ann2neo.Probe(detector) as probe, torch.no_grad(), quiet():
        for batch in batches:
            detector(batch)
    for layer, activation in activations.items():
        np.testing.assert_array_equal(probe.recording.raster(layer), spikes(activation), layer)


# -- films -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True], ids=["default", "named"])
def test_frames_are_steps(named):
    torch.manual_seed(0)
    film, stimuli = special.Film(), torch.randn(N_STIMULI, 6, 3, 32, 32)
    fired = {}
    handles = [
        module.register_forward_hook(
            lambda module, args, out, name=name: fired.update({name: first_tensor(out).clone()})
        )
        for name, module in film.named_modules()
    ]
    with torch.no_grad():
        output = film(stimuli)
    for handle in handles:
        handle.remove()
    # its first dimension is (film, frame)
    activations = {k: v for k, v in fired.items() if any(fnmatchcase(k, glob) for glob in OF_FRAMES)}
    assert len(activations) == 4
    recording, _ = recorded(film, stimuli, OF_FRAMES if named else None, time_dim=1, batch_size=N_STIMULI)
    if not named:
        activations["relu"] = output.flatten(0, 1)
    check(recording, activations)
    np.testing.assert_array_equal(recording.stimuli.onsets, 6 * np.arange(N_STIMULI))


# -- globs -------------------------------------------------------------------------------------------


GLOBS = ("*.branch1.relu", "conv?.relu", "inception3*relu", "*3?.branch*.1.relu", "*1*relu")


@pytest.mark.parametrize("glob", GLOBS)
def test_a_glob_finds_the_functions_that_it_matches(glob):
    model, stimuli = of_zoo("torchvision", "GoogLeNet")
    names = ann2neo.layers(model, stimuli).query("by_default").layer
    wanted = [name for name in names if fnmatchcase(name, glob)]
    assert wanted
    assert recorded(model, stimuli, glob)[0].layers == wanted


# -- pruning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["SE-ResNet-18", "MobileNetV3"],
)
def test_gates_are_not_pruned(name):
    from ann2neo.pruning import prunable

    model, stimuli = of_zoo("timm", name)
    found = [each.layer for each in prunable(model.eval(), stimuli[:1])]
    assert found
    assert not [layer for layer in found if "gate" in layer]


def test_the_last_layer_is_not_pruned():
    from ann2neo.pruning import prunable

    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(num_classes=10).eval()
    found = [each.module for each in prunable(model, images(32)[:1])]
    assert "features.0" in found
    assert "classifier.1" not in found

"""Loops around a model whose passes are steps of the same stimuli."""

import contextlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Monitor, Probe, Summary, record

N, STEPS = 4, 9


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


class Neuron(nn.Module):
    """A leaky integrator that keeps its own state."""

    def __init__(self):
        super().__init__()
        self.state = None

    def forward(self, x):
        self.state = x if self.state is None else 0.8 * self.state + x
        spikes = (self.state > 1).float()
        self.state = self.state - spikes
        return spikes


class Spiking(nn.Sequential):
    """Two layers of neurons, for one step."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Linear(5, 6), Neuron(), nn.Linear(6, 3), Neuron())

    def reset(self):
        self[1].state = self[3].state = None


def captured(model, name, show):
    """Return what a module gives in each pass, by a plain hook: (n_stimuli, n_steps, n_units)."""
    given = []
    handle = model.get_submodule(name).register_forward_hook(lambda *a: given.append(a[-1].detach().clone()))
    with torch.no_grad():
        show()
    handle.remove()
    return torch.stack(given, 1)


def spikes(activation):
    return (activation.flatten(0, 1).flatten(1) > 0).T.numpy()


def run(model, x):
    model.reset()
    for step in x.unbind(1):
        model(step)


@pytest.mark.parametrize("time_dim", [None, "calls"])
def test_steps_of_spiking_neurons(generator, time_dim):
    model, batches = Spiking(), 3 * torch.rand(2, N, STEPS, 5, generator=generator)
    expected = {
        name: torch.cat([captured(model, name, lambda b=batch: run(model, b)) for batch in batches])
        for name in ("1", "3")
    }
    summary = Summary(window=4)
    how = {"layers": ["1", "3"], "time_dim": time_dim}
    with torch.no_grad(), Probe(model, **how) as probe, Probe(model, **how, into=[summary]) as pushing:
        for i, batch in enumerate(batches):
            with probe.stimulus(), pushing.stimulus():
                run(model, batch)
            probe.annotate(labels=np.arange(N) + i)
    recording = probe.recording
    for name, activation in expected.items():
        assert 0 < activation.mean() < 1
        np.testing.assert_array_equal(recording.raster(name), spikes(activation))
    np.testing.assert_array_equal(recording.stimuli.onsets, STEPS * np.arange(2 * N))
    np.testing.assert_array_equal(recording.stimuli.labels, [0, 1, 2, 3, 1, 2, 3, 4])
    assert summary.units.equals(recording.summarize(4).units)


def test_a_diffusion_takes_a_step_a_pass(generator):
    """The model gives what it was given; each pass takes what the last one gave."""

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.act = nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(inplace=True)

        def forward(self, x, t):
            return self.act(self.conv(x) + t).mul_(0.5)  # overwrites what was recorded

    model, noise = Denoiser(), torch.randn(N, 2, 5, 5, generator=generator)

    def loop():
        x = noise
        for t in range(STEPS):
            x = x - model(x, t / 10 - 0.5)

    expected = captured(model, "act", loop)
    with torch.no_grad(), Probe(model) as probe, probe.stimulus():
        loop()
    np.testing.assert_array_equal(probe.recording.raster("act"), spikes(expected))
    assert probe.n_stimuli == N


class Causal(nn.Module):
    """Attention over the tokens until now, with a cache that holds those before."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.mix = nn.Embedding(20, 8), nn.Linear(8, 8)
        self.act, self.head, self.pooled = nn.ReLU(), nn.Linear(8, 20), nn.Tanh()

    def forward(self, input_ids, cache=None, attention_mask=None):
        new = self.embedding(input_ids)
        seen = new if cache is None else torch.cat([cache, new], 1)
        scores = new @ seen.transpose(1, 2)
        n_new, n_seen = scores.shape[1:]
        hidden = torch.arange(n_seen) > torch.arange(n_seen - n_new, n_seen)[:, None]
        if attention_mask is not None:
            hidden = hidden | (attention_mask[:, None] == 0)
        attention = scores.masked_fill(hidden, -1e9).softmax(-1)
        hidden = self.act(self.mix(attention @ seen))
        self.pooled(hidden[:, 0])
        return self.head(hidden), seen


def generate(model, tokens, n_new, cached, mask=None):
    """Add tokens one by one; return all."""
    cache, new = None, tokens
    for _ in range(n_new):
        logits, cache = model(new if cached else tokens, cache if cached else None, mask)
        new = logits[:, -1:].argmax(-1)
        tokens = torch.cat([tokens, new], 1)
        if mask is not None:
            mask = torch.cat([mask, torch.ones_like(new)], 1)
    return tokens


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_generation_counts_each_token_once(generator, cached, padded):
    model, prompts = Causal(), torch.randint(20, (N, 5), generator=generator)
    mask = (torch.arange(5) >= torch.tensor([0, 3, 1, 4])[:, None]).long() if padded else None
    summary = Summary(window=4)

    def probed(**more):
        with Probe(model, time_dim=1, **more) as probe, probe.stimulus():
            return probe, generate(model, prompts, 6, cached, mask)

    with torch.no_grad():
        with pytest.warns(UserWarning, match=r"not recorded.*'pooled': \(4, 8\)"):
            probe, texts = probed()
        with pytest.warns(UserWarning, match=r"not recorded.*'pooled': \(4, 8\)"):
            probed(into=[summary])
        whole = torch.ones(N, 10) if mask is None else torch.cat([mask, torch.ones(N, 5)], 1)
        expected = []
        handle = model.act.register_forward_hook(lambda *a: expected.append(a[-1]))
        model(texts[:, :-1], None, whole)  # the last token is never shown
        handle.remove()
    np.testing.assert_array_equal(probe.recording.raster("act"), (expected[0][whole.bool()] > 0).T.numpy())
    lengths = whole.sum(1).int().numpy()
    np.testing.assert_array_equal(probe.recording.stimuli.onsets, np.cumsum(lengths) - lengths)
    assert summary.units.equals(probe.recording.summarize(4).units)


def test_beams_that_change_places_are_refused(generator):
    model, tokens = nn.Sequential(nn.Embedding(20, 4), nn.ReLU()), torch.arange(6).reshape(2, 3)
    refused = pytest.raises(ValueError, match="do not begin with its 3")
    with Probe(model, time_dim=1) as probe, refused, probe.stimulus():
        model(tokens)
        model(torch.cat([tokens.flip(0), tokens[:, :1]], 1))
    assert probe.n_stimuli == 0


def test_a_text_that_grows_in_layers_of_other_steps_is_refused(generator):
    class Prefixed(nn.Module):
        """Puts steps of its own before those of the stimuli."""

        def __init__(self):
            super().__init__()
            self.embedding, self.act = nn.Embedding(20, 4), nn.ReLU()

        def forward(self, tokens):
            return self.act(nn.functional.pad(self.embedding(tokens), (0, 0, 2, 0)))

    model, tokens = Prefixed(), torch.randint(20, (N, 6), generator=generator)
    refused = pytest.raises(ValueError, match="'act' gives 8 steps of a sequence of 6 that grows")
    with Probe(model, "act", time_dim={"act": 1}) as probe, refused, probe.stimulus():
        model(tokens[:, :5])
        model(tokens)
    assert probe.n_stimuli == 0


def test_parts_of_one_length_are_all_new(generator):
    """A long sequence may be shown in parts."""
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 12, 3, generator=generator)
    with torch.no_grad(), Probe(model, time_dim=1) as probe, probe.stimulus():
        for part in x.split(4, 1):
            model(part)
    np.testing.assert_array_equal(probe.recording.raster("1"), record(model, x, time_dim=1).raster("1"))


def test_what_fails_in_a_block_is_not_recorded(generator):
    model, x = Spiking(), 3 * torch.rand(N, STEPS, 5, generator=generator)
    model.reset()

    def one_of_three_passes_fails():
        with probe.stimulus():
            model(x[:, 0])
            with pytest.raises(RuntimeError):
                model(x[:, 0, :2])
            model(x[:, 1])

    refused = pytest.raises(ValueError, match=r"this pass has 2 stimuli, but the first of its block had 4")
    with torch.no_grad(), Probe(model, "1") as probe:
        with pytest.raises(OSError, match="gone"), probe.stimulus():
            model(x[:, 0])
            raise OSError("gone")
        with pytest.warns(UserWarning, match="failed, so its stimuli are not recorded"):
            one_of_three_passes_fails()
        assert probe.n_stimuli == 0
        with probe.stimulus():
            run(model, x)
        with refused, probe.stimulus():
            model.reset()
            model(x[:, 0])
            model.reset()
            model(x[:2, 0])
        model.reset()
        with probe.stimulus():
            model(x[:, 0])
    np.testing.assert_array_equal(probe.recording.stimuli.onsets, [0, 9, 18, 27, 36, 37, 38, 39])


def test_nan_in_a_block_names_the_step():
    relu, x = nn.ReLU(), torch.ones(2, 3, 4)
    x[1, 2] = torch.nan
    refused = pytest.raises(ValueError, match="NaN for stimulus 1, step 2")
    with Probe(relu) as probe, refused, probe.stimulus():
        for step in x.unbind(1):
            relu(step)
    assert probe.n_stimuli == 0


def test_blocks_are_within_a_probe_and_not_within_one_another():
    relu = nn.ReLU()
    probe = Probe(relu)
    with pytest.raises(RuntimeError, match="the probe is off"), probe.stimulus():
        pass
    with probe:
        with probe.stimulus(), pytest.raises(RuntimeError, match="within the block"), probe.stimulus():
            pass
        with probe.stimulus():
            relu(torch.ones(2, 3))
            with pytest.raises(ValueError, match="annotate them after the block"):
                probe.annotate(labels=[0, 1])
    assert probe.n_stimuli == 2


@pytest.mark.parametrize("every", [1, 2])
def test_a_monitor_counts_a_block_as_a_pass(generator, every):
    model, batches = Spiking(), 3 * torch.rand(3, N, STEPS, 5, generator=generator)
    with Probe(model, ["1", "3"]) as probe:
        for batch in batches[::every]:
            with probe.stimulus():
                run(model, batch)
    monitor = Monitor(["1", "3"], window=4)
    with monitor.watch(model, every=every) as watch:
        for batch in batches:
            with watch.stimulus():
                run(model, batch)
    assert watch.summary.units.equals(probe.recording.summarize(4).units)


# -- the same batch again and again ------------------------------------------------------------------


def test_the_same_batch_again_and_again_is_warned_of_once(generator):
    model, x = Spiking(), torch.rand(N, 5, generator=generator)
    with Probe(model, "1"), pytest.warns(UserWarning, match="same batch.*stimulus") as seen:
        [model(x) for _ in range(5)]
    assert len(seen) == 1


def test_no_warning_where_nothing_is_wrong(generator):
    model, x = Spiking(), torch.rand(N, 5, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with warnings.catch_warnings(), Probe(model, "1") as probe:
        warnings.simplefilter("error")
        for _ in range(4):  # a training that is tried on one batch
            model(x)
            optimizer.step()
        for _ in range(4):  # a buffer that is filled anew
            model(x.add_(0.1))
        for _ in range(4):
            model(x.clone())
        with probe.stimulus():
            for _ in range(4):
                model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record(nn.ReLU(), [x] * 5)  # repeats of a presentation


def test_nothing_is_left_of_a_first_block_that_failed():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with Probe(model) as probe:
        block = probe.stimulus()
        block.__enter__()
        model(torch.randn(3, 1, 9, 9))
        with contextlib.suppress(RuntimeError):  # the loop goes on
            model(torch.randn(3, 2, 9, 9))
        with pytest.warns(UserWarning, match="failed, so its stimuli are not recorded"):
            block.__exit__(None, None, None)
        with pytest.raises(KeyError), probe.stimulus():
            model(torch.randn(3, 1, 8, 8))
            raise KeyError
        with probe.stimulus():
            model(torch.randn(3, 1, 6, 6))
    assert probe.recording.rasters["1"].shape == (2, 4, 4)

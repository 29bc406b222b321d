"""Padding by every road, and dimensions that only seem to be time."""

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Monitor, Probe, Summary, record, summarize

N, STEPS, UNITS = 6, 7, 5
LENGTHS = torch.tensor([3, 7, 1, 5, 2, 4])
MASK = (torch.arange(STEPS) < LENGTHS[:, None]).long()
TOKENS = torch.randint(1, 20, (N, STEPS), generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """Embeds tokens, and pools them at its end as BERT does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.act = nn.Embedding(20, UNITS), nn.ReLU()
        self.pooler = nn.Sequential(nn.Linear(UNITS, UNITS), nn.Tanh())

    def forward(self, tokens, attention_mask=None):
        return self.pooler(self.act(self.embedding(tokens))[:, 0])


def real_steps(model, mask=MASK):
    """Return units by the bins that are no padding."""
    with torch.no_grad():
        return (torch.relu(model.embedding(TOKENS))[mask.bool()] > 0).T.numpy()


@pytest.fixture
def reader():
    return Reader().eval()


def by_name():
    return {"tokens": TOKENS, "attention_mask": MASK}


# -- padding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "show",
    [
        lambda model: model(TOKENS, MASK),
        lambda model: model(TOKENS, attention_mask=MASK),
        lambda model: model(**by_name()),
        lambda model: [model(*part) for part in zip(TOKENS.split(4), MASK.split(4), strict=True)],
    ],
    ids=["by position", "by keyword", "by name", "in batches"],
)
def test_a_probe_and_a_watch_leave_padding_out(reader, show):
    summary, monitor = Summary(window=3), Monitor("act", time_dim=1, window=3)
    with Probe(reader, "act", time_dim=1) as probe, Probe(reader, "act", time_dim=1, into=[summary]):
        show(reader)
    with monitor.watch(reader) as watch:
        show(reader)
    np.testing.assert_array_equal(probe.recording.raster("act"), real_steps(reader))
    np.testing.assert_array_equal(
        probe.recording.stimuli.onsets, np.cumsum(LENGTHS.numpy()) - LENGTHS.numpy()
    )
    for each in (summary, watch.summary):
        assert each.units.equals(probe.recording.summarize(3).units)


def test_record_and_summarize_leave_padding_out(reader):
    how = {"layers": "act", "time_dim": 1, "batch_size": 4}
    recording = record(reader, by_name(), **how)
    np.testing.assert_array_equal(recording.raster("act"), real_steps(reader))
    assert summarize(reader, by_name(), window=3, **how).units.equals(recording.summarize(3).units)


def test_what_is_announced_counts_more_than_the_mask(reader):
    with Probe(reader, "act", time_dim=1) as probe:
        probe.announce(lengths=[2] * N)
        reader(TOKENS, MASK)
    assert probe.recording.n_bins == 2 * N
    assert record(reader, by_name(), "act", time_dim=1, lengths=[2] * N).n_bins == 2 * N


def test_the_mask_of_a_cache_covers_what_was_before(reader):
    """The last column of the mask is the step that is new."""
    with Probe(reader, "act", time_dim=1) as probe:
        reader(TOKENS[:, -1:], torch.cat([MASK, torch.ones(N, 1).long()], 1))
    assert probe.recording.n_bins == N


def test_without_time_padding_is_warned_of_once(reader):
    with pytest.warns(UserWarning, match="padding, but their activations count.*time_dim=") as seen:
        record(reader, by_name(), "act", batch_size=2)
    assert len(seen) == 1
    record(reader, {**by_name(), "attention_mask": torch.ones_like(MASK)}, "act")


def test_a_mask_of_other_steps_is_refused():
    """As where a sound has a mask, and its layers have fewer steps."""

    class Listener(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, sounds, attention_mask):
            return self.act(sounds[:, ::2])

    sounds = torch.randn(N, 2 * STEPS, 3)
    with pytest.raises(ValueError, match=r"mask of shape \(6, 14\), but layer 'act' gives 6 stimuli of 7"):
        record(Listener(), {"sounds": sounds, "attention_mask": MASK.repeat(1, 2)}, time_dim=1)


# -- encoder and decoder -----------------------------------------------------------------------------


class Translator(nn.Module):
    """Encodes one sequence and decodes another; what it ends with has no side in its name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, UNITS)
        self.encoder, self.decoder, self.last = (nn.ModuleDict({"act": nn.ReLU()}) for _ in range(3))

    def forward(self, input_ids, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None):
        self.encoder["act"](self.embedding(input_ids))
        return self.last["act"](self.decoder["act"](self.embedding(decoder_input_ids)))


def translation(n_steps, **more):
    others = torch.randint(1, 20, (N, n_steps), generator=torch.Generator().manual_seed(1))
    return {"input_ids": TOKENS, "attention_mask": MASK, "decoder_input_ids": others, **more}


@pytest.mark.parametrize("n_steps", [STEPS, 4], ids=["as many steps", "other steps"])
def test_the_mask_of_the_encoder_is_none_of_the_decoder(n_steps):
    model, stimuli = Translator(), translation(n_steps)
    with pytest.warns(UserWarning, match=r"not recorded.*'decoder.act': .*'last.act'"):
        recording = record(model, stimuli, time_dim=1)
    assert recording.layers == ["encoder.act"]
    np.testing.assert_array_equal(recording.raster("encoder.act"), real_steps(model))
    decoder = record(model, stimuli, "decoder.act", time_dim=1)
    expected = torch.relu(model.embedding(stimuli["decoder_input_ids"])).flatten(0, 1) > 0
    np.testing.assert_array_equal(decoder.raster("decoder.act"), expected.T)


def test_the_decoder_has_a_mask_of_its_own():
    model = Translator()
    stimuli = translation(STEPS, decoder_attention_mask=MASK.flip(0))
    decoder = record(model, stimuli, "decoder.act", time_dim=1)
    expected = torch.relu(model.embedding(stimuli["decoder_input_ids"]))[MASK.flip(0).bool()] > 0
    np.testing.assert_array_equal(decoder.raster("decoder.act"), expected.T)


def test_a_layer_that_may_be_of_either_side_is_refused():
    with pytest.raises(ValueError, match=r"'last.act' gives 7 steps.*encoder's or the decoder's.*lengths="):
        record(Translator(), translation(STEPS), "last.act", time_dim=1)
    recording = record(Translator(), translation(STEPS), "last.act", time_dim=1, lengths=[STEPS] * N)
    assert recording.n_bins == N * STEPS


@pytest.mark.parametrize("n_steps", [STEPS, 4], ids=["as many steps", "other steps"])
def test_keys_and_values_of_the_encoder_in_a_decoder_are_the_encoders(n_steps):
    class Crossing(Translator):
        def __init__(self):
            super().__init__()
            self.decoder["cross_attn"] = nn.ModuleDict({"k_proj": nn.ReLU(), "q_proj": nn.ReLU()})

        def forward(self, input_ids, attention_mask=None, decoder_input_ids=None):
            crossing = self.decoder["cross_attn"]
            crossing["q_proj"](self.embedding(decoder_input_ids))
            return crossing["k_proj"](self.embedding(input_ids))

    model, stimuli = Crossing(), translation(n_steps)
    keys = record(model, stimuli, "decoder.cross_attn.k_proj", time_dim=1)
    np.testing.assert_array_equal(keys.raster("decoder.cross_attn.k_proj"), real_steps(model))
    queries = record(model, stimuli, "decoder.cross_attn.q_proj", time_dim=1)
    assert queries.n_bins == N * n_steps


# -- what only seems to be time ----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_pooler_is_left_out(reader, stream):
    summary = Summary(window=3)
    warned = pytest.warns(UserWarning, match=r"not recorded.*'pooler.1': \(6, 5\)")
    with warned as seen, Probe(reader, time_dim=1, into=[summary] if stream else None) as probe:
        [reader(TOKENS.clone()) for _ in range(2)]
    assert len(seen) == 1
    layers = list(summary.layers.layer[:-1]) if stream else probe.recording.layers
    assert layers == ["act"]
    assert (summary if stream else probe.recording).n_bins == 2 * N * STEPS


def test_a_pooler_as_wide_as_there_are_steps_is_left_out(reader):
    """Its five units are five numbers, and there are five steps."""
    with pytest.warns(UserWarning, match=r"not recorded.*'pooler.1'"):
        recording = record(reader, TOKENS[:, :UNITS], time_dim=1)
    assert recording.layers == ["act"]


@pytest.mark.parametrize("layers", [["act", "pooler.1"], "pooler.1", ["act", "pooler.*"]])
def test_a_pooler_that_is_named_is_refused(reader, layers):
    with pytest.raises(ValueError, match=r"layer 'pooler.[01]' gives \(6, 5\), which has 5 steps.*7 steps"):
        record(reader, TOKENS, layers, time_dim=1)


class Block(nn.Module):
    """Channels first in between, as in Mamba."""

    def __init__(self, kernel=3, stride=1):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, UNITS)
        self.conv = nn.Conv1d(UNITS, UNITS + 3, kernel, stride, padding=kernel // 2)
        self.inner, self.outer = nn.SiLU(), nn.ReLU()

    def forward(self, x):
        x = x if x.is_floating_point() else self.embedding(x)
        return self.outer(self.inner(self.conv(x.transpose(1, 2))).transpose(1, 2))


@pytest.mark.parametrize("as_floats", [False, True])
def test_channels_first_are_left_out(as_floats):
    block = Block()
    x = block.embedding(TOKENS).detach() if as_floats else TOKENS
    with pytest.warns(UserWarning, match=r"not recorded.*'inner': \(6, 8, 7\)"):
        recording = record(block, x, time_dim=1)
    assert recording.layers == ["outer"]
    assert recording.n_bins == N * STEPS
    told = record(block, x, time_dim={"inner": 2, "outer": 1})
    inner = block.inner(block.conv(block.embedding(TOKENS).transpose(1, 2))).transpose(1, 2).flatten(0, 1)
    np.testing.assert_array_equal(told.raster("inner"), (inner > 0).T)


def test_if_no_layer_has_the_steps_the_error_says_what_to_give():
    with pytest.raises(ValueError, match=r"8 steps in time_dim=1, but .* 7 steps.*time_dim=\{'inner': ...\}"):
        record(Block(), TOKENS, "in*", time_dim=1)


def test_fewer_steps_than_tokens_can_be_told_of_a_layer():
    block = Block(stride=2)
    with pytest.raises(ValueError, match=r"gives .* 4 steps .* was given 7 steps"):
        record(block, TOKENS, "outer", time_dim=1)
    assert record(block, TOKENS, "outer", time_dim={"outer": 1}).n_bins == N * 4


def test_what_cannot_be_decided_is_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.ReLU(), nn.Tanh()

        def forward(self, x):
            return self.one(x.flatten(2)), self.two(x.flatten(2).transpose(1, 2))

    with pytest.raises(ValueError, match="layers have different steps"):
        record(Two(), torch.randn(N, 3, 2, 2), time_dim=1)


def test_what_is_called_once_is_left_out_where_calls_are_steps():
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.before, self.act = nn.RNNCell(3, 4), nn.ReLU(), nn.Tanh()

        def forward(self, x):
            state = torch.zeros(len(x), 4)
            for step in self.before(x).unbind(1):
                state = self.act(self.cell(step, state))
            return state

    x = torch.randn(N, STEPS, 3)
    with pytest.warns(UserWarning, match=r"not recorded.*'before': \(6, 1, 7, 3\)"):
        recording = record(Unrolled(), x, time_dim="calls")
    assert recording.layers == ["act"]
    assert recording.n_bins == N * STEPS


def test_calls_of_different_shapes_are_refused():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(3, 4), nn.ReLU()

        def forward(self, x):
            return self.act(self.fc(self.act(x)))

    with pytest.raises(ValueError, match=r"'act' gives shapes \(6, 3\) and \(6, 4\) in two calls"):
        record(Shared(), torch.randn(N, 3), time_dim="calls")


def test_channels_first_alone_are_refused_where_the_stimuli_show_their_steps():
    class Inner(Block):
        def __init__(self):
            super().__init__()
            del self.outer

        def forward(self, x):
            return self.inner(self.conv(x.transpose(1, 2)))

    x = torch.randn(N, STEPS, UNITS)
    with pytest.raises(ValueError, match=r"8 steps in time_dim=1, but .* 7 steps.*time_dim=\{'inner': ...\}"):
        record(Inner(), x, time_dim=1)
    assert record(Inner(), x, time_dim=2).n_bins == N * STEPS
    assert record(Inner(), x, time_dim={"inner": 1}).n_bins == N * (UNITS + 3)


def test_the_first_pass_holds_nothing_where_the_steps_are_known(reader):
    """A mask or tokens tell the steps: what fits goes on at once, before the next layer fires."""
    with Probe(reader, "act", time_dim=1) as probe:
        seen = []
        reader.pooler.register_forward_hook(lambda *_: seen.append(len(probe._hooks._firings._results)))
        reader(TOKENS, MASK)
    assert seen == [1]

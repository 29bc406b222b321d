"""Texts: padding, generation, experts, and dimensions that are no time."""

import numpy as np
import pytest
import torch

import ann2neo

from .capture import capture, cut
from .checks import built, check, quiet, recorded
from .models import BATCH_SIZE, N_STIMULI, TEXT, TRANSFORMER, tokens
from .special import EXPERTS, of_experts

pytestmark = pytest.mark.zoo
transformers = pytest.importorskip("transformers")

N_TOKENS = 11
ACTIVATIONS = "layers.*.mlp.act_fn"


def padded(first):
    """Return texts of 3 to 10 tokens with their mask, padded at the end, or at the start."""
    stimuli = tokens()
    lengths = 3 + torch.arange(N_STIMULI) % 8
    mask = torch.arange(N_TOKENS) < lengths[:, None]
    stimuli["attention_mask"] = (mask.flip(1) if first else mask).long()
    return stimuli


@pytest.fixture
def llama():
    torch.manual_seed(0)
    with quiet():
        return transformers.LlamaModel(transformers.LlamaConfig(**TEXT, num_key_value_heads=2)).eval()


@pytest.fixture(params=[False, True], ids=["padded at the end", "padded at the start"])
def texts(request):
    torch.manual_seed(1)
    return padded(request.param)


def of_real_tokens(model, texts, globs=(ACTIVATIONS,)):
    fired = capture(model, cut(texts, BATCH_SIZE)).chosen(globs)
    mask = texts["attention_mask"].bool()
    return {name: value[mask] for name, value in fired.items()}


# -- padding -----------------------------------------------------------------------------------------


def test_record_leaves_padding_out(llama, texts):
    recording, _ = recorded(llama, texts, ACTIVATIONS, time_dim=1)
    check(recording, of_real_tokens(llama, texts))
    lengths = texts["attention_mask"].sum(1).numpy()
    np.testing.assert_array_equal(recording.stimuli.onsets, np.cumsum(lengths) - lengths)


def test_a_probe_leaves_padding_out(llama, texts):
    with ann2neo.Probe(llama, ACTIVATIONS, time_dim=1) as probe, torch.no_grad():
        for batch, _ in cut(texts, BATCH_SIZE):
            llama(**batch)
    check(probe.recording, of_real_tokens(llama, texts))


def test_a_mask_given_by_position_is_read(llama, texts):
    with ann2neo.Probe(llama, ACTIVATIONS, time_dim=1) as probe, torch.no_grad():
        for batch, _ in cut(texts, BATCH_SIZE):
            llama(batch["input_ids"], batch["attention_mask"])
    check(probe.recording, of_real_tokens(llama, texts))


def test_a_monitor_that_watches_counts_as_one_that_observes(llama, texts):
    watching, observing = (ann2neo.Monitor(layers=ACTIVATIONS, time_dim=1, window=5) for _ in range(2))
    with watching.watch(llama), torch.no_grad():
        for batch, _ in cut(texts, BATCH_SIZE):
            llama(**batch)
    observing.observe(llama, texts)
    n_tokens = int(texts["attention_mask"].sum())
    assert observing.table.n_bins.unique().tolist() == [n_tokens]
    assert watching.table.n_bins.unique().tolist() == [n_tokens]


def test_without_time_padding_is_warned_of(llama, texts):
    with pytest.warns(UserWarning, match="padding"):
        ann2neo.record(llama, texts, ACTIVATIONS, batch_size=BATCH_SIZE)


# -- encoder and decoder -----------------------------------------------------------------------------


@pytest.fixture
def translator():
    torch.manual_seed(0)
    with quiet():
        config = transformers.T5Config(
            d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=100, decoder_start_token_id=0
        )
        return transformers.T5ForConditionalGeneration(config).eval()


OF_ENCODER, OF_DECODER = (f"{side}.block.*.DenseReluDense.act" for side in ("encoder", "decoder"))


def test_the_mask_of_an_encoder_is_none_of_its_decoder(translator, texts):
    stimuli = {**texts, "decoder_input_ids": tokens()["input_ids"]}
    fired = capture(translator, cut(stimuli, BATCH_SIZE))
    recording, warned = recorded(translator, stimuli, time_dim=1)
    mask = texts["attention_mask"].bool()
    check(recording, {name: value[mask] for name, value in fired.chosen([OF_ENCODER]).items()})
    assert len(warned) == 1
    assert all(name in warned[0] for name in fired.chosen([OF_DECODER]))
    decoder, _ = recorded(translator, stimuli, OF_DECODER, time_dim=1)
    check(decoder, fired.chosen([OF_DECODER]), n_bin_dims=2)


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "growing"])
def test_a_decoder_that_generates_takes_each_token_once(translator, texts, use_cache):
    how = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "use_cache": use_cache}
    with ann2neo.Probe(translator, OF_DECODER, time_dim=1) as probe, probe.stimulus():
        found = translator.generate(**texts, **how)
    stimuli = {**texts, "decoder_input_ids": found[:, :-1]}
    activations = capture(translator, cut(stimuli, N_STIMULI)).chosen([OF_DECODER])
    check(probe.recording, activations, n_bin_dims=2)


# -- what is time ------------------------------------------------------------------------------------


def test_a_pooler_is_left_out_where_tokens_are_bins():
    torch.manual_seed(0)
    with quiet():
        roberta = transformers.RobertaModel(transformers.RobertaConfig(**TEXT, hidden_act="relu"))
    stimuli = tokens()
    activations = capture(roberta, cut(stimuli, BATCH_SIZE)).chosen(["encoder.*.intermediate_act_fn"])
    recording, warned = recorded(roberta, stimuli, time_dim=1)
    check(recording, activations, n_bin_dims=2)
    assert any("pooler.activation" in each for each in warned)


def test_channels_that_would_be_time_are_refused():
    torch.manual_seed(0)
    with quiet():
        config = transformers.FalconMambaConfig(
            hidden_size=32, num_hidden_layers=2, state_size=4, vocab_size=100, pad_token_id=0
        )
        mamba = transformers.FalconMambaModel(config)
    with pytest.raises(ValueError, match="time_dim"):
        ann2neo.record(mamba, tokens(), time_dim=1)


# -- generation --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [{}, {"use_cache": False}, {"cache_implementation": "static"}],
    ids=["cached", "growing", "static cache"],
)
def test_generation_takes_each_token_once(how):
    torch.manual_seed(0)
    with quiet():
        config = transformers.Qwen2Config(**TEXT, num_key_value_heads=2)
        model = transformers.Qwen2ForCausalLM(config).eval()
    prompts = tokens()
    with ann2neo.Probe(model, "model." + ACTIVATIONS, time_dim=1) as probe, probe.stimulus():
        texts = model.generate(**prompts, max_new_tokens=5, min_new_tokens=5, do_sample=False, **how)
    # the last token is never shown to the model
    shown = {"input_ids": texts[:, :-1]}
    activations = capture(model, cut(shown, N_STIMULI)).chosen(["model." + ACTIVATIONS])
    assert len(probe.recording.stimuli.onsets) == N_STIMULI
    check(probe.recording, activations, n_bin_dims=2)


# -- experts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXPERTS)
def test_experts_are_refused_with_the_reason(kind):
    model = built("transformers", of_experts, kind)
    with pytest.raises(ValueError, match=r"experts\.act_fn.*first dimension"):
        ann2neo.record(model, tokens())


# -- what has the size of the batch by accident ------------------------------------------------------


def _t5():
    config = transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, vocab_size=100)
    return transformers.T5EncoderModel(config), {"input_ids": torch.randint(5, 90, (11, 11))}


def _hubert():
    config = transformers.HubertConfig(
        **{**TRANSFORMER, "num_hidden_layers": 1},
        conv_dim=(16, 16),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
    )
    return transformers.HubertModel(config), {"input_values": torch.randn(32, 400)}


@pytest.mark.parametrize(
    ("build", "by_accident"),
    [
        (_t5, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
        (_hubert, "encoder.pos_conv_embed.conv.parametrizations.weight.0"),
    ],
    ids=["distances of 11 tokens in 11 texts", "weights of 32 channels for 32 sounds"],
)
def test_what_does_not_depend_on_the_stimulus_is_no_layer(build, by_accident):
    torch.manual_seed(0)
    with quiet():
        model, stimuli = build()
    n_stimuli = len(next(iter(stimuli.values())))
    layers = capture(model, cut(stimuli, n_stimuli)).of_leaves()
    assert len(layers.pop(by_accident)) == n_stimuli
    recording, _ = recorded(model, stimuli, layers="*", batch_size=n_stimuli)
    # tables of positions of one row are no accident, and not in the oracle
    check(recording, layers)

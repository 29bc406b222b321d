"""Monitor: a network followed through its training, against summaries and captured activations."""

import copy
import io
import time

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Quantile, SummaryError, calibrate, summarize
from ann2neo.model.monitor import METRICS, Monitor
from helpers.traces import n_watched

STIMULI = torch.randn(150, 6, generator=torch.Generator().manual_seed(1))
BATCHES = torch.randn(10, 16, 6, generator=torch.Generator().manual_seed(2))


def make_model():
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.4))
    return nn.Sequential(*first, nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1))


def train(model, optimizer, batches=BATCHES):
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = (model(batch).squeeze(1) - batch.sum(1)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def captured(model, into):
    """Keep what each ReLU gives, by a hook that knows nothing of probes."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(
                lambda module, args, output, name=name: into.setdefault(name, []).append(
                    output.detach().clone()
                )
            )


def rows_of(monitor, step):
    return monitor.table[monitor.table.step == step].set_index("layer")


# -- fixed stimuli ---------------------------------------------------------------------------------------


def test_each_step_is_the_summary_of_the_model_at_that_step():
    model, monitor = make_model(), Monitor(["2", "5"], window=25, units={"2": 7, "*": "all"}, threshold=0.1)
    optimizer, copies = optimizer_of(model), []
    for step in range(3):
        copies.append(copy.deepcopy(model))
        assert monitor.observe(model, STIMULI).units.equals(
            summarize(
                copies[-1], STIMULI, ["2", "5"], window=25, units={"2": 7, "*": "all"}, threshold=0.1
            ).units
        )
        assert monitor.steps == list(range(step + 1))
        train(model, optimizer)
    for step, at_step in enumerate(copies):
        activation = at_step.eval()[:6](STIMULI) > 0.1
        assert rows_of(monitor, step).loc["5", "mean_firing_rate_mean"] == pytest.approx(
            1000 * activation.double().mean().item()
        )
        assert rows_of(monitor, step).loc["5", "dead_fraction"] == (activation.sum(0) == 0).double().mean()
        assert set(rows_of(monitor, step).n_bins) == {150}
    rates = monitor.table[monitor.table.layer == "network"].mean_firing_rate_mean
    assert rates.nunique() == 3  # training moved it


def test_columns_and_order_of_the_table():
    model, monitor = make_model(), Monitor(window=25)
    layers = monitor.observe(model, STIMULI, step=10).layers
    monitor.observe(model, STIMULI)
    assert list(monitor.table) == ["step", *layers, "n_bins", "seconds"]
    assert monitor.table.layer.tolist() == ["2", "5", "network"] * 2
    assert monitor.table.step.tolist() == [10] * 3 + [11] * 3
    assert monitor.table[list(layers)].iloc[:3].equals(layers)
    assert list(Monitor().table) == ["step", "layer", "n_bins", "seconds"]
    assert len(Monitor().table) == 0


def test_seconds_are_what_the_observation_took():
    class Slow(nn.ReLU):
        def forward(self, x):
            time.sleep(0.05)
            return super().forward(x)

    monitor = Monitor()
    began = time.perf_counter()
    monitor.observe(Slow(), torch.ones(4, 2))
    took = time.perf_counter() - began
    assert 0.05 <= monitor.table.seconds[0] <= took
    assert monitor.table.seconds.nunique() == 1


def test_layers_may_change_between_steps():
    monitor = Monitor()
    monitor.observe(nn.ReLU(), STIMULI)
    monitor.observe(nn.Sequential(nn.Linear(6, 3), nn.Tanh()), STIMULI)
    assert monitor.table.layer.tolist() == ["ReLU", "network", "1", "network"]
    assert monitor.table.n_units.tolist() == [6, 6, 3, 3]


def test_time_within_a_stimulus():
    torch.manual_seed(0)
    lstm, sequences = nn.LSTM(4, 3, batch_first=True), torch.randn(20, 9, 4)
    monitor = Monitor(nn.LSTM, time_dim=1, window=10)
    monitor.observe(lstm, sequences)
    with monitor.watch(lstm) as watch:
        watch.announce(lengths=torch.arange(1, 6))
        lstm(sequences[:5])
    assert monitor.table.n_bins.tolist() == [180, 180, 15, 15]


@pytest.mark.parametrize("step", [1, np.int64(1)])
def test_a_step_observed_twice_is_an_error(step):
    monitor, model = Monitor(), make_model()
    monitor.observe(model, STIMULI, step=1)
    for again in (lambda: monitor.observe(model, STIMULI, step), lambda: monitor.watch(model, step)):
        with pytest.raises(ValueError, match="step 1 was observed already: give another one, or none"):
            again()
    assert monitor.steps == [1]


@pytest.mark.parametrize("step", [1.0, "1", True])
def test_a_step_is_a_whole_number(step):
    with pytest.raises(ValueError, match="give a whole number"):
        Monitor().observe(make_model(), STIMULI, step)


def test_rules_are_calibrated_once():
    model = make_model().eval()
    with pytest.raises(ValueError, match=r"ann2neo.calibrate\(model, stimuli, threshold\) returns"):
        Monitor(threshold=Quantile(0.9))
    monitor = Monitor("2", threshold=calibrate(model, STIMULI, Quantile(0.75), "2"))
    monitor.observe(model, STIMULI)
    assert monitor.table.activation_probability_mean[0] == pytest.approx(0.25, abs=0.01)


def test_what_fails_or_is_interrupted_adds_nothing():
    class Pressed(nn.ReLU):
        n_calls = 0

        def forward(self, x):
            self.n_calls += 1
            if self.n_calls == 2:
                raise KeyboardInterrupt
            return super().forward(x)

    monitor = Monitor(batch_size=50)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        monitor.observe(Pressed(), STIMULI)
    broken = STIMULI.clone()
    broken[60] = float("nan")
    with pytest.raises(SummaryError, match="gives NaN for stimulus 60"):
        monitor.observe(nn.ReLU(), broken)
    assert monitor.steps == []


# -- the training's own batches --------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_watched_rows_are_those_of_captured_activations(every):
    model, monitor, seen = make_model(), Monitor(window=10), {}
    captured(model, seen)
    with monitor.watch(model, every=every) as watch:
        train(model, optimizer_of(model))
    rows = rows_of(monitor, 0)
    for layer, activations in seen.items():
        assert len(activations) == len(BATCHES)
        spikes = (torch.cat(activations[::every]) > 0).numpy()
        assert rows.loc[layer, "n_bins"] == len(spikes)
        units = watch.summary.units
        assert units[units.layer == layer].n_spikes.tolist() == spikes.sum(0).tolist()
        counts = spikes[: len(spikes) // 10 * 10].reshape(-1, 10, spikes.shape[1]).sum(1)
        fano = counts.var(0) / counts.mean(0)
        assert rows.loc[layer, "fano_factor_mean"] == pytest.approx(np.nanmean(fano))
        assert rows.loc[layer, "fano_factor_var"] == pytest.approx(np.nanvar(fano))


def untouched(optimizer, model):
    return [train(model, optimizer) for _ in range(2)]


def observed(optimizer, model):
    monitor, losses = Monitor(), []
    for _ in range(2):
        monitor.observe(model, STIMULI)
        losses.append(train(model, optimizer))
        assert all(p.grad is not None for p in model.parameters())
    return losses


def watched(optimizer, model, every):
    monitor, losses = Monitor(), []
    for _ in range(2):
        with monitor.watch(model, every=every):
            losses.append(train(model, optimizer))
    assert len(monitor.steps) == 2
    return losses


@pytest.mark.parametrize(
    "follow",
    [observed, lambda *what: watched(*what, every=1), lambda *what: watched(*what, every=4)],
    ids=["observe", "watch", "watch some"],
)
def test_the_training_is_bit_equal_with_and_without(follow):
    told = []
    for run in (untouched, follow):
        model = make_model()
        losses = run(optimizer_of(model), model)
        gradients = [p.grad for p in model.parameters()]
        told.append((losses, [*model.state_dict().values(), *gradients, torch.get_rng_state()]))
        assert all(module.training for module in model.modules())
        assert n_watched(model) == 0
    (losses, tensors), (losses_followed, tensors_followed) = told
    assert losses == losses_followed
    assert all(torch.equal(a, b) for a, b in zip(tensors, tensors_followed, strict=True))


def test_passes_that_are_not_looked_at_have_one_hook():
    model, hooks = make_model(), []
    with Monitor().watch(model, every=3):
        for batch in BATCHES[:7]:
            hooks.append(n_watched(model))
            model(batch)
    assert hooks[1:3] == hooks[4:6] == [1, 1]
    assert min(hooks[0], hooks[3], hooks[6]) > 2
    assert n_watched(model) == 0


def test_an_exception_ends_the_watch_but_keeps_what_was_complete():
    model, monitor = make_model(), Monitor(allow_nan=False)
    broken = BATCHES.clone()
    broken[4, 2] = float("nan")
    with pytest.raises(ValueError, match="layer '2' gives NaN for stimulus 66"), monitor.watch(model, step=7):
        for batch in broken:
            model.eval()(batch)
    assert monitor.table.n_bins.tolist() == [64] * 3
    assert n_watched(model) == 0
    with pytest.raises(RuntimeError, match="of the loop"), monitor.watch(model):
        raise RuntimeError("of the loop")
    assert monitor.steps == [7]


def test_a_pass_that_fails_is_not_counted():
    model, monitor = make_model(), Monitor()
    with monitor.watch(model, every=2):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(torch.ones(2, 5))
        model(BATCHES[0])  # seen
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(torch.ones(2, 5))
        model(BATCHES[1])
        model(BATCHES[2, :3])  # seen
    assert monitor.table.n_bins.tolist() == [19] * 3


def test_a_block_without_a_pass_warns():
    model, monitor = make_model(), Monitor()
    with pytest.warns(UserWarning, match="no forward pass of Sequential was completed"), monitor.watch(model):
        model.forward(STIMULI)
    assert monitor.steps == []


def test_pause_and_resume():
    model, monitor = make_model(), Monitor()
    with monitor.watch(model, every=2) as watch:
        model(BATCHES[0])  # seen
        watch.pause()
        assert n_watched(model) == 0
        for batch in BATCHES:
            model(batch)
        watch.resume()
        watch.resume()
        model(BATCHES[1])
        model(BATCHES[2])  # seen
    assert monitor.table.n_bins.tolist() == [32] * 3
    with pytest.raises(RuntimeError, match="watch of step 0 is over"):
        watch.resume()
    assert n_watched(model) == 0


def test_seconds_of_a_watch_leave_out_the_network():
    class Slow(nn.ReLU):
        def forward(self, x):
            time.sleep(0.02)
            return super().forward(x)

    monitor, model = Monitor(), Slow()
    monitor.observe(model, torch.ones(4, 2))  # what is loaded once
    began = time.perf_counter()
    with monitor.watch(model):
        for _ in range(10):
            model(torch.ones(4, 2))
    took = time.perf_counter() - began
    seconds = rows_of(monitor, 1).seconds["network"]
    assert 0 < seconds <= took - 10 * 0.02


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_run_compiled_in_the_other_passes(in_place):
    model, monitor, compiled_calls, n_pass = make_model(), Monitor(), [], 0

    def backend(graph, inputs):
        def run(*given):
            compiled_calls.append(n_pass)
            return graph(*given)

        return run

    compiled = model
    if in_place:
        model.compile(backend=backend)
    else:
        compiled = torch.compile(model, backend=backend)
    with monitor.watch(compiled, every=3):
        for batch in BATCHES:
            compiled(batch)
            n_pass += 1
    assert sorted(set(compiled_calls)) == [1, 2, 4, 5, 7, 8]
    monitor.observe(compiled, STIMULI)
    assert monitor.table.n_bins.tolist() == [64] * 3 + [150] * 3


@pytest.mark.parametrize("every", [0, 1.5, "2"])
def test_every_is_a_whole_number(every):
    with pytest.raises(ValueError, match="give a whole number of forward passes"):
        Monitor().watch(make_model(), every=every)


def test_two_watches_of_one_step():
    model, monitor = make_model(), Monitor()
    with pytest.raises(ValueError, match="step 0 was observed already"):  # noqa: SIM117
        with monitor.watch(model), monitor.watch(model):
            model(BATCHES[0])
    assert monitor.steps == [0]
    assert n_watched(model) == 0


# -- loggers and checkpoints -----------------------------------------------------------------------------


def test_metrics_are_the_finite_columns_of_the_table():
    model, monitor = make_model(), Monitor(window=25)
    with torch.no_grad():
        model[4].bias.fill_(-100.0)  # layer 5 is silent: no Fano factor
    monitor.observe(model, STIMULI)
    monitor.observe(make_model(), STIMULI, step=5)
    rows, metrics = rows_of(monitor, 0), monitor.metrics(0)
    assert metrics.pop("network/seconds") == rows.seconds["network"]
    assert metrics == {
        f"{layer}/{column}": rows.loc[layer, column]
        for layer in rows.index
        for column in METRICS
        if not np.isnan(rows.loc[layer, column])
    }
    assert metrics["5/dead_fraction"] == 1
    assert "5/fano_factor_mean" not in metrics
    assert {type(value) for value in metrics.values()} == {float}
    assert monitor.metrics() == monitor.metrics(5)
    with pytest.raises(ValueError, match=r"step 3 was not observed: the table has \[0, 5\]"):
        monitor.metrics(3)
    with pytest.raises(ValueError, match="step None was not observed"):
        Monitor().metrics()


def test_a_resumed_training_continues_the_table():
    model, monitor, file = make_model(), Monitor(window=25), io.BytesIO()
    monitor.observe(model, STIMULI, step=3)
    monitor.observe(model, STIMULI)
    torch.save(monitor.state_dict(), file)
    file.seek(0)
    resumed = Monitor(window=25)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.table.equals(monitor.table)
    assert resumed.table.dtypes.equals(monitor.table.dtypes)
    assert resumed.metrics(3) == monitor.metrics(3)
    resumed.observe(model, STIMULI)
    assert resumed.steps == [3, 4, 5]
    with pytest.raises(ValueError, match="step 4 was observed already"):
        resumed.observe(model, STIMULI, 4)
    empty = Monitor()
    empty.load_state_dict(Monitor().state_dict())
    assert empty.steps == []

"""MonitorCallback: a monitor in Lightning's training loop, against summaries of the model at each step."""

import csv
import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ann2neo import summarize
from ann2neo.model.monitor import Monitor
from helpers.traces import n_watched

pytest.importorskip("lightning")
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from ann2neo.model.lightning import MonitorCallback

pytestmark = [
    # Lightning 2.6 uses what torch deprecates
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    # advice for data sets that take long to load
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

STIMULI = torch.randn(120, 6, generator=torch.Generator().manual_seed(1))
DATA = torch.randn(60, 6, generator=torch.Generator().manual_seed(2))


class Net(LightningModule):
    def __init__(self, lr=0.05):
        super().__init__()
        torch.manual_seed(0)
        first = (nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.4))
        self.net = nn.Sequential(*first, nn.Linear(12, 1))
        self.lr, self.losses, self.shown, self.fails_at = lr, [], [], None

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        if self.global_step == self.fails_at:
            raise RuntimeError("of the training")
        # what the ReLU gives, with the dropout of none
        self.shown.append((self.current_epoch, batch_idx, batch.clone(), self._relu(batch)))
        loss = (self(batch).squeeze(1) - batch.sum(1)).square().mean()
        self.losses.append(loss.item())
        return loss

    def _relu(self, batch):
        linear, norm = self.net[0], self.net[1]
        x = linear(batch)
        x = (x - x.mean(0)) / (x.var(0, correction=0) + norm.eps).sqrt() * norm.weight + norm.bias
        return (x > 0).detach().numpy()

    def validation_step(self, batch, batch_idx):
        self(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


class Snapshots(Callback):
    """Keeps the weights at each step."""

    def __init__(self):
        self.states = []

    def on_train_start(self, trainer, pl_module):
        self._keep(pl_module)

    def on_train_epoch_end(self, trainer, pl_module):
        self._keep(pl_module)

    def _keep(self, pl_module):
        self.states.append({k: v.clone() for k, v in pl_module.state_dict().items()})


def fit(model, callbacks, *, epochs=3, validate=True, **given):
    ckpt_path = given.pop("ckpt_path", None)
    settings = {"logger": False, "enable_checkpointing": False, **given}
    if not validate:
        settings["limit_val_batches"] = 0
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **settings,
    )
    torch.manual_seed(3)
    loader = DataLoader(DATA, batch_size=16, shuffle=True)
    trainer.fit(model, loader, DataLoader(DATA, 16), ckpt_path=ckpt_path)
    return trainer


def without_seconds(monitor):
    return monitor.table.drop(columns="seconds")


def test_fixed_stimuli_before_the_first_epoch_and_after_each():
    monitor, snapshots = Monitor(window=20), Snapshots()
    fit(Net(), [MonitorCallback(monitor, STIMULI), snapshots])
    assert monitor.steps == [0, 1, 2, 3]
    for step, state in enumerate(snapshots.states):
        model = Net()
        model.load_state_dict(state)
        rows = monitor.table[monitor.table.step == step].reset_index(drop=True)
        layers = summarize(model, STIMULI, window=20).layers
        assert rows[list(layers)].equals(layers)
        assert set(rows.n_bins) == {120}
    network = monitor.table[monitor.table.layer == "network"]
    assert network.mean_firing_rate_mean.nunique() == 4  # training moved it


@pytest.mark.parametrize("every", [1, 2])
def test_watching_counts_the_batches_of_training_and_no_validation(every):
    model, monitor = Net(), Monitor(window=10)
    fit(model, [MonitorCallback(monitor, every_n_batches=every)], val_check_interval=0.5)
    assert monitor.steps == [1, 2, 3]
    for step in monitor.steps:
        spikes = np.concatenate([s for epoch, i, _, s in model.shown if epoch == step - 1 and i % every == 0])
        row = monitor.table[monitor.table.step == step].iloc[0]
        assert row.n_bins == len(spikes) == {1: 60, 2: 32}[every]
        assert row.mean_firing_rate_mean == pytest.approx(1000 * spikes.mean())
        assert row.mean_firing_rate_var == pytest.approx((1000 * spikes.mean(0)).var())


@pytest.mark.parametrize("given", [{"stimuli": STIMULI}, {}, {"every_n_batches": 3}])
def test_the_training_is_bit_equal_with_and_without(given):
    plain, followed, monitor = Net(), Net(), Monitor()
    fit(plain, [])
    random = torch.get_rng_state()
    fit(followed, [MonitorCallback(monitor, **given)])
    assert torch.equal(torch.get_rng_state(), random)
    assert len(monitor.steps) >= 3
    assert plain.losses == followed.losses
    for one, other in zip(plain.state_dict().values(), followed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert n_watched(followed) == 0


def test_loggers_get_the_metrics(tmp_path):
    monitor, loggers = Monitor(window=20), [CSVLogger(tmp_path, name) for name in ("one", "two")]
    trainer = fit(Net(), [MonitorCallback(monitor, STIMULI, name="fixed")], logger=loggers)
    for name in ("one", "two"):
        with (tmp_path / name / "version_0" / "metrics.csv").open() as file:
            logged = [row for row in csv.DictReader(file) if row["ann2neo_step"]]
        assert [int(row["ann2neo_step"]) for row in logged] == monitor.steps == [0, 1, 2, 3]
        assert [int(row["step"]) for row in logged] == [0, 4, 8, 12]
        for row in logged:
            metrics = monitor.metrics(int(row["ann2neo_step"]))
            assert {k: float(row[f"fixed/{k}"]) for k in metrics} == metrics
    last = {k: v.item() for k, v in trainer.callback_metrics.items()}
    assert last == pytest.approx({f"fixed/{k}": v for k, v in monitor.metrics(3).items()})


def test_other_callbacks_can_monitor_the_metrics(tmp_path):
    monitor = Monitor()
    stopping = EarlyStopping("net.2/mean_firing_rate_mean", min_delta=1e6, patience=1)
    best = ModelCheckpoint(tmp_path, monitor="net.2/mean_firing_rate_mean", save_on_train_epoch_end=True)
    callbacks = [stopping, best, MonitorCallback(monitor, STIMULI)]
    fit(Net(), callbacks, epochs=5, validate=False, enable_checkpointing=True)
    assert monitor.steps == [0, 1, 2]
    rates = [monitor.metrics(step)["net.2/mean_firing_rate_mean"] for step in (1, 2)]
    assert best.best_model_score.item() == pytest.approx(min(rates))


@pytest.mark.parametrize("given", [{"stimuli": STIMULI}, {}])
@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # of the first run, meant to be there
@pytest.mark.parametrize("on_train_epoch_end", [True, False])
def test_a_training_that_is_resumed_continues_the_table(tmp_path, given, on_train_epoch_end):
    whole = Monitor(window=20)
    fit(Net(), [MonitorCallback(whole, **given)], epochs=4)
    first, second = Monitor(window=20), Monitor(window=20)
    keep = ModelCheckpoint(tmp_path, "first", save_on_train_epoch_end=on_train_epoch_end)
    fit(Net(), [MonitorCallback(first, **given), keep], epochs=2, enable_checkpointing=True)
    keep = ModelCheckpoint(tmp_path, "second", save_on_train_epoch_end=on_train_epoch_end)
    resumed = {"epochs": 4, "ckpt_path": tmp_path / "first.ckpt", "enable_checkpointing": True}
    fit(Net(), [MonitorCallback(second, **given), keep], **resumed)
    # the checkpoint that follows validation comes before fixed stimuli are shown: they are, when resumed
    n_kept = len(first.table) - (2 if given and not on_train_epoch_end else 0)
    assert second.table.iloc[:n_kept].equals(first.table.iloc[:n_kept])
    assert without_seconds(second).iloc[: len(first.table)].equals(without_seconds(first))
    assert without_seconds(first).equals(without_seconds(whole).iloc[: len(first.table)])
    assert second.steps == whole.steps


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_a_training_that_is_resumed_within_an_epoch(tmp_path):
    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "within.ckpt")

    first, second = Monitor(), Monitor()
    fit(Net(), [MonitorCallback(first), Save()])
    model = Net()
    fit(model, [MonitorCallback(second)], ckpt_path=tmp_path / "within.ckpt")
    shown = {epoch: sum(len(batch) for e, _, batch, _ in model.shown if e == epoch) for epoch in (1, 2)}
    assert 0 < shown[1] < shown[2]
    network = second.table[second.table.layer == "network"]
    assert network.step.tolist() == [1, 2, 3]
    assert network.n_bins.tolist() == [60, shown[1], shown[2]]


def test_every_other_epoch():
    monitor = Monitor()
    fit(Net(), [MonitorCallback(monitor, STIMULI, every_n_epochs=2)], epochs=5)
    assert monitor.steps == [0, 2, 4]
    monitor = Monitor()
    fit(Net(), [MonitorCallback(monitor, every_n_epochs=2)], epochs=5)
    assert monitor.steps == [2, 4]


def test_a_part_that_the_training_calls():
    class Inner(Net):
        def forward(self, x):
            raise NotImplementedError("this one is not called")

        def training_step(self, batch, batch_idx):
            return self.net(batch).square().mean()

    for given in ({}, {"stimuli": STIMULI}):
        monitor = Monitor()
        fit(Inner(), [MonitorCallback(monitor, module="net", **given)], validate=False, epochs=1)
        assert monitor.steps[-1] == 1
        assert monitor.table.layer.unique().tolist() == ["2", "network"]
    with pytest.warns(UserWarning, match="step 1 is not in the table: no forward pass of Inner"):
        fit(Inner(), [MonitorCallback(Monitor())], validate=False, epochs=1)


def test_an_exception_keeps_what_was_complete():
    model, monitor = Net(), Monitor()
    model.fails_at = 6
    with pytest.raises(RuntimeError, match="of the training"):
        fit(model, [MonitorCallback(monitor)])
    network = monitor.table[monitor.table.layer == "network"]
    assert network.step.tolist() == [1, 2]
    assert network.n_bins.tolist() == [60, 32]


def test_a_monitor_belongs_to_one_training():
    monitor = Monitor()
    callback = MonitorCallback(monitor, STIMULI)
    trainer = fit(Net(), [callback], epochs=2)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(Net(), DataLoader(DATA, 16), DataLoader(DATA, 16))
    assert monitor.steps == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="steps up to 3, but this training begins after epoch 0"):
        fit(Net(), [callback])


def test_several_callbacks(tmp_path):
    fixed, watching = Monitor(), Monitor()
    callbacks = [MonitorCallback(fixed, STIMULI, name="fixed"), MonitorCallback(watching, name="shown")]
    trainer = fit(Net(), callbacks)
    trainer.save_checkpoint(tmp_path / "both.ckpt")
    assert {key.split("/")[0] for key in trainer.callback_metrics} == {"fixed", "shown"}
    again = [Monitor(), Monitor()]
    callbacks = [MonitorCallback(again[0], STIMULI, name="fixed"), MonitorCallback(again[1], name="shown")]
    fit(Net(), callbacks, ckpt_path=tmp_path / "both.ckpt")
    assert again[0].table.equals(fixed.table)
    assert again[1].table.equals(watching.table)
    with pytest.raises(RuntimeError, match="more than one"):
        fit(Net(), [MonitorCallback(fixed), MonitorCallback(watching)])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"every_n_epochs": 0}, ValueError, "every_n_epochs=0: give a whole number"),
        ({"every_n_batches": 1.5}, ValueError, "every_n_batches=1.5: give a whole number"),
        ({"stimuli": STIMULI, "every_n_batches": 2}, ValueError, "leave out stimuli"),
        ({"stimuli": iter([STIMULI])}, TypeError, "can be shown once"),
    ],
)
def test_bad_arguments(given, error, message):
    with pytest.raises(error, match=message):
        MonitorCallback(Monitor(), **given)


def test_without_lightning_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "ann2neo.lightning", raising=False)
    monkeypatch.delitem(sys.modules, "ann2neo.model.lightning")
    with pytest.raises(ImportError, match=r"pip install 'ann2neo\[lightning\]'"):
        importlib.import_module("ann2neo.lightning")

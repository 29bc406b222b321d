"""A Lightning callback that follows a network through its training: see :class:`ann2neo.Monitor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..interop.extras import how_to_install
from .monitor import Monitor
from .watch import Watch

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
except ImportError as error:
    raise ImportError(how_to_install("lightning", by="MonitorCallback", extra="lightning")) from error


class MonitorCallback(Callback):
    """Add to a monitor's table after each epoch, and log its metrics to all loggers of the trainer.

    Step 0 is the network before its first epoch, step n after its n-th; so the table of a training that is
    resumed from a checkpoint, which holds it, goes on where it was.

    Parameters
    ----------
    monitor : Monitor
        Says what to look at, and keeps the table.
    stimuli : optional
        Fixed stimuli, as for :meth:`Monitor.observe`, shown before the first epoch and after each. Without,
        the training's own batches are watched: as :meth:`Monitor.watch`, without step 0; validation does not
        count.
    every_n_epochs : int
        Look at each so-many-th epoch.
    every_n_batches : int
        Watch the first of so many batches; only without ``stimuli``.
    module : str
        Name of the part of the LightningModule to look at, where ``training_step`` does not call the
        LightningModule itself: ``"net"`` if it calls ``self.net(x)``.
    name : str
        Put before the names of the metrics: ``"<name>/<layer>/<column>"``. Several callbacks need
        different ones.

    Raises
    ------
    ValueError
        If an argument is out of range. When training begins: if the monitor has rows of another training,
        or the strategy divides the parameters among processes.
    TypeError
        If the stimuli are an iterator, which is used up after its first use.

    Notes
    -----
    With several processes (DDP) that of rank zero observes, or watches its own share of the batches, while
    the others wait; only its monitor has the table.

    The metrics can be monitored by EarlyStopping and ModelCheckpoint. Loggers get them with the number of
    optimizer steps so far, and the column ``ann2neo_step``, the step in the table.

    ModelCheckpoint saves after the validation of an epoch, before fixed stimuli are shown: these are then
    shown first when the training is resumed. Of an epoch that was resumed in its middle, the batches
    since then are watched, or none if an exception had ended it: ``n_bins`` tells.

    Examples
    --------
    >>> import warnings
    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> warnings.simplefilter("ignore")  # Lightning's, of how the data are loaded
    >>> monitor = Monitor("layer", window=10)
    >>> callback = MonitorCallback(monitor, torch.randn(64, 32))
    >>> off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    >>> off |= {"enable_model_summary": False, "limit_val_batches": 0, "limit_train_batches": 4}
    >>> trainer = Trainer(max_epochs=2, accelerator="cpu", callbacks=[callback], **off)
    >>> trainer.fit(BoringModel())
    >>> monitor.table[["step", "layer", "n_bins"]]
       step    layer  n_bins
    0     0    layer      64
    1     0  network      64
    2     1    layer      64
    3     1  network      64
    4     2    layer      64
    5     2  network      64
    """

    def __init__(
        self,
        monitor: Monitor,
        stimuli: Any = None,
        *,
        every_n_epochs: int = 1,
        every_n_batches: int = 1,
        module: str = "",
        name: str = "",
    ) -> None:
        for argument, given in (("every_n_epochs", every_n_epochs), ("every_n_batches", every_n_batches)):
            if not isinstance(given, int) or given < 1:
                raise ValueError(f"{argument}={given!r}: give a whole number, at least 1")
        if stimuli is not None and every_n_batches != 1:
            raise ValueError(
                f"every_n_batches={every_n_batches} is for watching the training's batches: leave out stimuli"
            )
        if isinstance(stimuli, Iterator):
            raise TypeError(
                f"stimuli is a {type(stimuli).__name__}, which can be shown once: give a tensor, a Dataset, "
                "a DataLoader or a list of batches"
            )
        self.monitor, self.stimuli = monitor, stimuli
        self.every_n_epochs, self.every_n_batches = every_n_epochs, every_n_batches
        self.module, self.name = module, name
        self._watch: Watch | None = None
        self._is_resumed = False

    @property
    def state_key(self) -> str:
        """Under which the checkpoint holds the table."""
        return f"{type(self).__name__}({self.name!r})"

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the monitor, for the checkpoint."""
        return self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the table that is in a checkpoint."""
        self.monitor.load_state_dict(state_dict)
        self._is_resumed = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the table is of this training, and observe step 0."""
        strategy = trainer.strategy
        is_whole = isinstance(strategy, DDPStrategy) and not isinstance(strategy, DeepSpeedStrategy)
        if trainer.world_size > 1 and not is_whole:
            raise ValueError(
                f"{type(strategy).__name__} on {trainer.world_size} processes: one process cannot show "
                "stimuli to a network of which it has a part. Give strategy='ddp', or summarize checkpoints "
                "afterwards"
            )
        done = trainer.current_epoch
        if not self._is_resumed and max(self.monitor.steps, default=0) > done:
            raise ValueError(
                f"the monitor has steps up to {max(self.monitor.steps)}, but this training begins after "
                f"epoch {done}: give a new Monitor, or resume with fit(ckpt_path=...)"
            )
        if done == 0 and self.stimuli is not None:
            self._observe(trainer, pl_module, 0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at a batch, without stimuli."""
        if self.stimuli is not None or batch_idx % self.every_n_batches:
            return
        step = trainer.current_epoch + 1
        if self._watch is None and self._is_due(trainer, step):
            # not when an epoch starts: one that is resumed in its middle does not
            self._watch = self.monitor.watch(self._part(pl_module), step)
        if self._watch is not None:
            self._watch.resume()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look away, since a validation may follow, and after it a checkpoint that shall have the rows."""
        if self._watch is not None:
            self._watch.pause()
        if trainer.is_last_batch:
            self._end_watch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the rows of the epoch, and log them."""
        step = trainer.current_epoch + 1
        if self.stimuli is not None:
            self._observe(trainer, pl_module, step)
        else:
            self._end_watch()
        if step % self.every_n_epochs == 0:
            # EarlyStopping and ModelCheckpoint need them in every process
            metrics = trainer.strategy.broadcast(self._log(trainer, step))
            pl_module.log_dict(metrics, logger=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Add the rows of the epoch until then."""
        self._end_watch()

    def _is_due(self, trainer: Trainer, step: int) -> bool:
        # a training that is resumed in the middle of an epoch has its step already
        return trainer.is_global_zero and step % self.every_n_epochs == 0 and step not in self.monitor.steps

    def _part(self, pl_module: LightningModule) -> torch.nn.Module:
        return pl_module.get_submodule(self.module)

    def _observe(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        if self._is_due(trainer, step):
            self.monitor.observe(self._part(pl_module), self.stimuli, step)
            if step == 0:
                self._log(trainer, step)

    def _end_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _log(self, trainer: Trainer, step: int) -> dict[str, float]:
        """Give a step's metrics to the loggers; return them, none of a step that was not observed."""
        if step not in self.monitor.steps:
            return {}
        before = f"{self.name}/" if self.name else ""
        metrics = {before + name: value for name, value in self.monitor.metrics(step).items()}
        for logger in trainer.loggers:
            logger.log_metrics({**metrics, "ann2neo_step": step}, step=trainer.global_step)
        return metrics

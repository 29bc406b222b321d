"""Whether the firing of a network tells when fine-tuning on noisy labels begins to hurt.

    python benchmarks/early_stopping.py                    # digits: some minutes on two cores
    python benchmarks/early_stopping.py --data digits fashion-mnist --csv epochs.csv --figure rates.png
    python benchmarks/early_stopping.py --quick            # small: to see that it runs

A network learns five classes, and is then fine-tuned, with a new last layer, on few images of five others, of
which a part has shuffled labels. After every epoch ann2neo.Monitor looks at the training images alone. The
question is asked in three ways: whether changes of the rate and of test accuracy coincide, and with what
lag; whether the signals tell epochs at which test accuracy has dropped from others (ROC); what stopping by
them costs. Validation accuracy on noisy labels, training loss and the mere number of the epoch are the peers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import ann2neo
from ann2neo.study.data import load_data
from ann2neo.study.networks import network
from ann2neo.study.regimes import Regime, labels_of
from ann2neo.study.training import accuracy, train

NOISE = (0.0, 0.2, 0.4)
"""Fractions of the labels that are shuffled."""

DROP = 0.02
"""Test accuracy has dropped when it is so much below the best until then."""

SIGNALS = {
    "rate": "mean rate, change since the start",
    "rate_last": "  … of the last hidden layer",
    "rate_var": "variance of rates, change since the start",
    "fano": "mean Fano factor, change since the start",
    "dead": "dead units, change since the start",
    "loss": "training loss, sign reversed",
    "validation": "validation accuracy below its best, noisy labels",
    "epoch": "number of the epoch",
}
LABEL_FREE = ("rate", "rate_last", "rate_var", "fano", "dead")
LAGS = range(-8, 9)


@dataclass(frozen=True)
class Images:
    """Images of five classes, numbered from 0."""

    x: torch.Tensor
    y: torch.Tensor

    def __getitem__(self, rows: slice) -> Images:
        return Images(self.x[rows], self.y[rows])


def images_of(data: str, seed: int, args: argparse.Namespace) -> tuple[Images, Images]:
    """Return images of the first five classes, and of the last five."""
    where = {} if data == "digits" else {"root": args.root, "download": args.download}
    drawn = load_data(data, seed=seed, **where)[: args.n_images]
    x, y = torch.stack([image for image, _ in drawn]), torch.as_tensor(drawn.labels, dtype=torch.int64)
    return Images(x[y < 5], y[y < 5]), Images(x[y >= 5], y[y >= 5] - 5)


def pretrained(architecture: str, source: Images, seed: int, epochs: int) -> nn.Sequential:
    """Return a network that knows the first five classes, with a new last layer."""
    model = network(architecture, tuple(source.x.shape[1:]), 5, seed)
    assert isinstance(model, nn.Sequential)

    def knows(model: nn.Module) -> bool:
        return accuracy(model, source.x, source.y) >= 0.99

    train(model, source.x, source.y, until=knows, epochs=epochs, learning_rate=1e-3, seed=seed)
    model[-1] = network(architecture, tuple(source.x.shape[1:]), 5, seed + 1000)[-1]
    return model


def fine_tune(
    model: nn.Module, target: Images, noise: float, seed: int, args: argparse.Namespace
) -> pd.DataFrame:
    """Fine-tune on few images and return one row an epoch."""
    n = args.n_few
    few, validation, test = target[:n], target[n : 2 * n], target[2 * n :]
    regime = Regime("noisy", "shuffled", noise)
    learned, of_validation = labels_of(regime, few.y, seed), labels_of(regime, validation.y, seed + 1)
    last = [name for name, module in model.named_modules() if isinstance(module, nn.ReLU)][-1]
    monitor, rows = ann2neo.Monitor(window=10), []

    def look(model: nn.Module) -> bool:
        monitor.observe(model, few.x, len(rows))
        table = monitor.table
        now = table[table["step"] == len(rows)].set_index("layer")
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model.eval()(few.x), learned).item()
        whole = now.loc["network"]
        rows.append(
            {
                "epoch": len(rows),
                "test": accuracy(model, test.x, test.y),
                "training": accuracy(model, few.x, learned),
                "validation": accuracy(model, validation.x, of_validation),
                "loss": loss,
                "rate": whole["mean_firing_rate_mean"] / 1000,
                "rate_last": now.loc[last, "mean_firing_rate_mean"] / 1000,
                "rate_var": whole["mean_firing_rate_var"] / 1e6,
                "fano": whole["fano_factor_mean"],
                "dead": whole["dead_fraction"],
            }
        )
        return False

    look(model)
    train(model, few.x, learned, until=look, epochs=args.epochs, batch_size=20, learning_rate=1e-3, seed=seed)
    return pd.DataFrame(rows)


def smooth(values: pd.Series) -> np.ndarray:
    """Return means over three epochs, of which equal ones stay equal."""
    return values.rolling(3, center=True, min_periods=1).mean().round(6).to_numpy()


def told(run: pd.DataFrame) -> pd.DataFrame:
    """Return, for every epoch of a run, whether test accuracy has dropped, and the signals."""
    columns = {name: smooth(run[name]) - run[name].iloc[0] for name in LABEL_FREE}
    validation, test = smooth(run["validation"]), smooth(run["test"])
    columns |= {
        "loss": -smooth(run["loss"]),
        "validation": (np.maximum.accumulate(validation) - validation).round(6),
        "epoch": run["epoch"].to_numpy(),
        "dropped": np.maximum.accumulate(test) - test > DROP - 1e-9,
    }
    return pd.DataFrame(columns)


def roc(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the area under the ROC curve of each signal: mean and range over seeds.

    An area below one half tells as much as one above, the other way round. In a single run nearly every
    drop comes late, so that anything which only grows finds it; ``the same epoch`` compares runs of one seed
    with different noise at one epoch, where nothing is told by time.
    """
    rows = []
    for (data, architecture), cell in runs.groupby(["data", "architecture"], sort=False):
        for signal in SIGNALS:
            within, across, matched = [], [], []
            for _, of_seed in cell.groupby("seed"):
                by_noise = {noise: told(run) for noise, run in of_seed.groupby("noise")}
                noisy, everything = by_noise[max(by_noise)], pd.concat(by_noise.values())
                for found, epochs in ((within, noisy), (across, everything)):
                    if epochs["dropped"].nunique() == 2:
                        found.append(roc_auc_score(epochs["dropped"], epochs[signal]))
                matched += same_epoch(by_noise.values(), signal)
            rows.append(
                {
                    **{"data": data, "architecture": architecture, "signal": SIGNALS[signal]},
                    **{"noisiest runs": spread(within), "runs of all noise": spread(across)},
                    "the same epoch": spread(matched),
                }
            )
    return pd.DataFrame(rows)


def same_epoch(runs: Collection[pd.DataFrame], signal: str) -> list[float]:
    """Return the area under the ROC curve of pairs that are of one epoch, if there are any."""
    dropped, signals = (np.stack([run[name] for run in runs]) for name in ("dropped", signal))
    pairs = dropped[:, None] & ~dropped[None]
    higher = np.sign(signals[:, None] - signals[None])
    return [float((1 + higher[pairs].mean()) / 2)] if pairs.any() else []


def spread(values: list[float]) -> str:
    """Return mean and range as text."""
    if not values:
        return "–"
    return f"{np.mean(values):.2f} ({min(values):.2f}–{max(values):.2f}, n={len(values)})"


def lags(runs: pd.DataFrame) -> pd.DataFrame:
    """Correlate changes of a rate with those of test accuracy so many epochs later, in the noisiest runs.

    The lag is that of the largest correlation; ``chance`` is what this choice finds between the rate of one
    seed and the test accuracy of another, which share no more than that both belong to such runs.
    """
    rows = []
    noisiest = runs[runs["noise"] == runs["noise"].max()]
    for (data, architecture), cell in noisiest.groupby(["data", "architecture"], sort=False):
        for signal in ("rate", "rate_last"):
            # the first epochs, in which everything moves, would decide all of it
            of_runs = [
                [np.diff(smooth(run[name]))[5:] for name in (signal, "test")]
                for _, run in cell.groupby("seed")
            ]
            rates, tests = zip(*of_runs, strict=True)
            by_seed = curves(rates, tests)
            mean = np.mean(by_seed, axis=0)
            best = int(np.abs(mean).argmax())
            others = [np.roll(np.arange(len(tests)), turn) for turn in range(1, len(tests))]
            chance = [
                np.abs(np.mean(curves(rates, [tests[i] for i in other]), axis=0)).max() for other in others
            ]
            of_seeds = [of_seed[best] for of_seed in by_seed]
            rows.append(
                {
                    **{"data": data, "architecture": architecture, "signal": signal},
                    "lag (epochs)": LAGS[best],
                    "correlation": spread(of_seeds),
                    "chance": f"{np.mean(chance):.2f}" if chance else "–",
                    "at lag 0": spread([of_seed[-LAGS[0]] for of_seed in by_seed]),
                }
            )
    return pd.DataFrame(rows)


def curves(rates: Sequence[np.ndarray], tests: Sequence[np.ndarray]) -> list[list[float]]:
    """Return the correlation at each lag, of each pair."""
    return [[shifted(rate, test, lag) for lag in LAGS] for rate, test in zip(rates, tests, strict=True)]


def shifted(one: np.ndarray, other: np.ndarray, lag: int) -> float:
    """Correlate one series with the other, lag steps later."""
    n = len(one)
    first, second = one[max(0, -lag) : n - max(0, lag)], other[max(0, lag) : n - max(0, -lag)]
    return float(np.corrcoef(first, second)[0, 1]) if first.std() and second.std() else 0.0


def stopping(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy where each rule stops, mean over seeds, for each noise."""
    rows = []
    for (data, architecture, noise), cell in runs.groupby(["data", "architecture", "noise"], sort=False):
        found: dict[str, list[float]] = {}
        for _, run in cell.groupby("seed"):
            test, rate = run["test"].to_numpy(), smooth(run["rate"])
            change = np.abs(np.subtract(rate[5:], rate[:-5]))
            settled = change < 0.1 * np.maximum.accumulate(change)
            stops = {
                "best epoch (oracle)": int(test.argmax()),
                "validation accuracy": int(smooth(run["validation"]).argmax()),
                "training accuracy 99 %": int((run["training"] >= 0.99).to_numpy().argmax()) or len(test) - 1,
                "rate lowest": int(rate.argmin()),
                "rate highest": int(rate.argmax()),
                "rate settled": int(settled.argmax()) + 5 if settled.any() else len(test) - 1,
                "last epoch": len(test) - 1,
            }
            for rule, epoch in stops.items():
                found.setdefault(rule, []).append(test[epoch])
        means = {rule: f"{np.mean(values):.1%}" for rule, values in found.items()}
        rows.append({"data": data, "architecture": architecture, "noise": noise, **means})
    return pd.DataFrame(rows)


def costs(args: argparse.Namespace) -> pd.DataFrame:
    """Return what a look costs beside an epoch of training, as medians over epochs."""
    rows = []
    x, y = torch.rand(args.n_cost, 1, 28, 28), torch.randint(0, 10, (args.n_cost,))
    for architecture in args.architectures:
        model = network(architecture, (1, 28, 28), 10)
        ways = {
            "watch(every=50)": ann2neo.Monitor(),
            "watch(every=50), 100 units a layer": ann2neo.Monitor(units=100),
            "observe(500 stimuli), 100 units a layer": ann2neo.Monitor(units=100),
        }
        optimizer = torch.optim.Adam(model.parameters())

        def epoch(model: nn.Module = model, optimizer: Any = optimizer) -> None:
            for first in range(0, len(x), 32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[first : first + 32]), y[first : first + 32]).backward()
                optimizer.step()

        epoch()
        bare, looks = [], {way: [] for way in ways}
        for _ in range(5):
            begin = time.perf_counter()
            epoch()
            bare.append(time.perf_counter() - begin)
            for way, monitor in ways.items():
                if way.startswith("watch"):
                    with monitor.watch(model, every=50):
                        epoch()
                else:
                    monitor.observe(model, x[:500])
                looks[way].append(monitor.metrics()["network/seconds"])
        for way, seconds in looks.items():
            rows.append(
                {
                    "architecture": architecture,
                    "look": way,
                    "epoch (s)": round(float(np.median(bare)), 2),
                    "look (s)": round(float(np.median(seconds)), 3),
                    "share": f"{np.median(seconds) / np.median(bare):.1%}",
                }
            )
    return pd.DataFrame(rows)


def draw(runs: pd.DataFrame, path: str) -> None:
    """Draw test accuracy and rate along fine-tuning, one line a seed."""
    from matplotlib.figure import Figure

    cells = list(runs.groupby(["data", "architecture"], sort=False))
    figure = Figure(figsize=(3.2 * len(cells), 6), layout="constrained")
    axes = figure.subplots(3, len(cells), sharex=True, squeeze=False)
    shown = {"test": "test accuracy", "rate": "p, mean over units", "rate_last": "p, last hidden layer"}
    for column, ((data, architecture), cell) in enumerate(cells):
        axes[0, column].set_title(f"{data}, {architecture}")
        for row, (name, title) in enumerate(shown.items()):
            axis = axes[row, column]
            for number, (noise, of_noise) in enumerate(cell.groupby("noise")):
                for seed, run in of_noise.groupby("seed"):
                    label = f"{noise:.0%} shuffled" if seed == 0 else None
                    axis.plot(
                        run["epoch"], smooth(run[name]), color=f"C{number}", lw=1, alpha=0.8, label=label
                    )
            if column == 0:
                axis.set_ylabel(title)
        axes[2, column].set_xlabel("epoch of fine-tuning")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--architectures", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-images", type=int, default=4000, help="of all classes")
    parser.add_argument("--n-few", type=int, default=100, help="images to fine-tune on")
    parser.add_argument("--n-cost", type=int, default=20_000, help="images in an epoch, to measure the cost")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--csv", help="all epochs of all runs, as a table")
    parser.add_argument("--figure", help="accuracy and rates along fine-tuning")
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.epochs, args.n_cost = 1, 25, 2000
    found = []
    for data in args.data:
        for seed in range(args.seeds):
            source, target = images_of(data, seed, args)
            for architecture in args.architectures:
                for noise in NOISE:
                    model = pretrained(architecture, source, seed, epochs=30)
                    run = fine_tune(model, target, noise, seed, args)
                    found.append(run.assign(data=data, architecture=architecture, noise=noise, seed=seed))
    runs = pd.concat(found, ignore_index=True)
    if args.csv:
        runs.to_csv(args.csv, index=False, float_format="%.6g")
    if args.figure:
        draw(runs, args.figure)
    for title, table in (
        (f"area under the ROC curve: has test accuracy dropped by {DROP:.0%}?", roc(runs)),
        ("correlation of changes, and how many epochs test accuracy comes later", lags(runs)),
        ("test accuracy where a rule stops", stopping(runs)),
        ("what a look costs", costs(args)),
    ):
        print(f"\n{title}\n{table.to_string(index=False)}")


if __name__ == "__main__":
    main()

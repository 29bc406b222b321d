"""Accuracy of networks after units were removed by what they fire, by their weights, and at random.

    python benchmarks/pruning.py                    # digits: some minutes on two cores
    python benchmarks/pruning.py --data digits fashion-mnist --csv pruning.csv
    python benchmarks/pruning.py --quick            # small: to see that it runs

Networks are trained on true labels until 99 % are known; every score removes the same fraction of units from
each layer, without training on. Units are scored on training images, accuracy is of test images. Seeds draw
images, weights and, of "random", units.
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import pandas as pd
import torch

from ann2neo.pruning import SCORES, prune
from ann2neo.study.cells.grid import Study
from ann2neo.study.cells.images import images
from ann2neo.study.networks import network
from ann2neo.study.training import accuracy, train

AMOUNTS = (0.1, 0.25, 0.5, 0.75, 0.9)


def rows_of(data: str, architecture: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train one network, and prune copies of it in every way."""
    drawn = images(Study(n_training=args.n_training), data, seed, root=args.root, download=args.download)
    model = network(architecture, tuple(drawn.x.shape[1:]), drawn.n_classes, seed)

    def knows(model: torch.nn.Module) -> bool:
        return accuracy(model, drawn.x, drawn.y) >= 0.99

    train(model, drawn.x, drawn.y, until=knows, epochs=args.epochs, learning_rate=1e-3, seed=seed)
    about = {"data": data, "architecture": architecture, "seed": seed}
    whole = accuracy(model, drawn.x_test, drawn.y_test)
    with torch.no_grad():
        before = model(drawn.x)
    rows = [{**about, "score": "nothing removed", "amount": 0.0, "fold": False, "accuracy": whole}]

    def pruned(amount: float | str, score: str, fold: bool) -> dict[str, Any]:
        smaller = copy.deepcopy(model)
        table = prune(smaller, drawn.x, amount, score, fold=fold, seed=seed)
        with torch.no_grad():
            change = (smaller(drawn.x) - before).abs().max().item()
        return {
            "accuracy": accuracy(smaller, drawn.x_test, drawn.y_test),
            "removed": table["n_removed"].sum() / table["n_units"].sum(),
            "largest_change": change,
        }

    rows.append(
        {**about, "score": "silent", "amount": "silent", "fold": False, **pruned("silent", "rate", False)}
    )
    for amount in args.amounts:
        for score in SCORES:
            for fold in (False, True):
                rows.append(
                    {**about, "score": score, "amount": amount, "fold": fold, **pruned(amount, score, fold)}
                )
    return rows


def show(table: pd.DataFrame) -> None:
    """Print mean and range of accuracy over seeds, a line for each way and a column for each amount."""
    for (data, architecture), cell in table.groupby(["data", "architecture"], sort=False):
        whole = cell.loc[cell["score"] == "nothing removed", "accuracy"]
        silent = cell[cell["score"] == "silent"]
        print(f"\n{data}, {architecture}: test accuracy of whole networks {whole.mean():.1%}", end="; ")
        print(
            f"silent units {silent['removed'].min():.1%}–{silent['removed'].max():.1%} of all: without them "
            f"{silent['accuracy'].mean():.1%}, no output of a training image moved by more than "
            f"{silent['largest_change'].max():.1g}"
        )
        rest = cell[cell["score"].isin(SCORES)]
        grouped = rest.groupby(["fold", "score", "amount"], sort=False)["accuracy"]
        text = grouped.agg(lambda a: f"{a.mean():.1%} ({a.min():.1%}–{a.max():.1%})").unstack("amount")
        text.columns = [f"{amount:.0%} removed" for amount in text.columns]
        text = text.reset_index().assign(
            fold=lambda t: t["fold"].map({True: "biases folded", False: "removed"})
        )
        print(text.to_string(index=False))


def main() -> None:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--architectures", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--amounts", nargs="+", type=float, default=AMOUNTS)
    parser.add_argument("--n-training", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--csv", help="all rows, as a table")
    parser.add_argument("--quick", action="store_true", help="one seed, two amounts, few epochs")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.amounts, args.epochs = 1, (0.25, 0.5), 3
    rows = [
        row
        for data in args.data
        for architecture in args.architectures
        for seed in range(args.seeds)
        for row in rows_of(data, architecture, seed, args)
    ]
    table = pd.DataFrame(rows)
    if args.csv:
        table.to_csv(args.csv, index=False)
    show(table)


if __name__ == "__main__":
    main()

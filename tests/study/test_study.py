"""The study: its cells, that it goes on where it was, and what its report says of planted results."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from ann2neo.cli import main
from ann2neo.cli.commands.study import SETTINGS
from ann2neo.study import effects, load_study, run_study, verdicts, write_report
from ann2neo.study.cells import Cell, Results, Study
from ann2neo.study.cells import cell as one_cell
from ann2neo.study.cells.images import images
from ann2neo.study.findings.comparisons import DOSE, INDICATORS
from ann2neo.study.networks import ARCHITECTURES, network
from ann2neo.study.regimes import REGIMES, Regime, labels_of

pytestmark = pytest.mark.slow

SMALL = {
    "n_training": 100,
    "n_few": 40,
    "n_stimuli": 60,
    "epochs": 3,
    "sgd_epochs": 2,
    "n_orders": 1,
    "units": 20,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """All regimes of a small study, of networks that learn little."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder, Study(seeds=1, **SMALL), processes=1)


# -- labels and images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.2, 0.6, 1.0])
def test_shuffling_permutes_a_fraction_of_the_labels(fraction):
    y = torch.arange(1000)  # all different, so that every label that moved is seen
    learned = labels_of(Regime("", "shuffled", fraction), y, seed=0)
    assert sorted(learned.tolist()) == y.tolist()
    assert (learned != y).float().mean().item() == pytest.approx(fraction, abs=0.01)
    assert torch.equal(learned, labels_of(Regime("", "shuffled", fraction), y, seed=0, epoch=5))
    assert not torch.equal(learned, labels_of(Regime("", "shuffled", fraction), y, seed=1))


def test_redrawn_labels_are_others_in_every_epoch():
    y = torch.arange(100)
    epochs = [labels_of(REGIMES["redrawn"], y, seed=0, epoch=epoch) for epoch in range(5)]
    for i, one in enumerate(epochs):
        assert sorted(one.tolist()) == y.tolist()
        assert all((one != other).sum() > 90 for other in epochs[:i])
    assert torch.equal(labels_of(REGIMES["generalizing"], y, seed=0, epoch=3), y)


def test_training_and_test_images_have_none_in_common():
    study = Study(n_training=1000, n_stimuli=1000)
    drawn = images(study, "digits", 3)
    assert not set(drawn.ids) & set(drawn.ids_test)
    assert len(drawn.x_test) == 797
    assert drawn.ids.tolist() == images(study, "digits", 3).ids.tolist()
    assert drawn.ids.tolist() != images(study, "digits", 4).ids.tolist()


# -- the cells -----------------------------------------------------------------------------------------


def test_every_cell_is_there_with_its_status(small):
    _, results = small
    cells = results.cells
    assert len(cells) == len(REGIMES)
    assert set(cells["status"]) == {"done", "goal not reached"}
    of = cells[cells["seed"] == 0].set_index("regime")
    assert of.loc["random", "epochs"] == 0
    assert of.loc["memorizing", "status"] == "goal not reached"
    assert of.loc["memorizing", "learned_accuracy"] < 0.99
    assert of.loc["redrawn", "epochs"] == of.loc["equal_steps", "epochs"] == of.loc["memorizing", "epochs"]
    assert of.loc["sgd_true", "epochs"] == 2


def test_all_regimes_begin_alike_and_see_the_same_stimuli(small):
    _, results = small
    looks = results.indicators
    first = looks[(looks["epoch"] == 0) & (looks["layer"] == "network") & (looks["seed"] == 0)]
    fresh = [name for name, regime in REGIMES.items() if regime.begins_as is None]
    for _, of_split in first[first["regime"].isin(fresh)].groupby("split"):
        assert len(of_split) == len(fresh)
        assert of_split["activation_probability_mean"].nunique() == 1
    later = looks[(looks["layer"] == "network") & (looks["seed"] == 0) & (looks["split"] == "test")]
    end = later[(later["regime"] == "memorizing") & later["last"]]["activation_probability_mean"]
    retrained = later[(later["regime"] == "true_after_shuffled") & (later["epoch"] == 0)]
    assert retrained["activation_probability_mean"].tolist() == pytest.approx(end.tolist())


def test_a_cell_by_hand(small):
    """The rate of a random network, from plain thresholding of a plain forward pass."""
    _, results = small
    study = results.study
    drawn = images(study, "digits", 0)
    model = network("mlp", (1, 8, 8), 10, seed=0)
    x = drawn.x[: study.n_stimuli]
    looks = results.indicators
    row = looks[(looks["regime"] == "random") & (looks["split"] == "training")]
    row = row[(row["layer"] == "relu1") & row["last"]].iloc[0]
    with torch.no_grad():
        fires = model.linear1(x.flatten(1)) > 0
    from ann2neo import record

    sampled = record(model, x, units=study.units).rasters["relu1"].units.copy()
    assert row["activation_probability_mean"] == pytest.approx(
        fires[:, sampled].float().mean().item(), rel=1e-6
    )
    assert row["dead_fraction"] == pytest.approx((~fires[:, sampled]).all(dim=0).float().mean().item())


def test_a_study_goes_on_where_it_was(small, tmp_path, monkeypatch):
    study = Study(regimes=("random", "generalizing"), seeds=1, **SMALL)
    first = run_study(tmp_path, study, processes=1)
    trained = []
    real = one_cell._train_and_look
    monkeypatch.setattr(
        one_cell,
        "_train_and_look",
        lambda s, cell, *more: (trained.append(str(cell)), real(s, cell, *more))[1],
    )
    again = run_study(tmp_path, study, processes=1)
    assert trained == []
    assert again.indicators.equals(first.indicators)
    other = dataclasses.replace(study, regimes=("generalizing", "memorizing", "shuffled_after_true"))
    wider = run_study(tmp_path, other, processes=1)
    assert trained == ["digits-mlp-memorizing-0", "digits-mlp-shuffled_after_true-0"]
    assert set(wider.cells["regime"]) == {"random", "generalizing", "memorizing", "shuffled_after_true"}
    assert "failed" not in set(wider.cells["status"])
    # and it is the same study, whether run at once or in parts
    whole = small[1].indicators
    mine = wider.indicators.set_index(["regime", "epoch", "split", "layer"])
    theirs = whole[whole["seed"] == 0].set_index(["regime", "epoch", "split", "layer"]).loc[mine.index]
    assert mine["class_selectivity"].tolist() == theirs["class_selectivity"].tolist()


def test_a_study_that_is_killed_loses_no_cell(tmp_path):
    command = [
        sys.executable,
        "-m",
        "ann2neo",
        "study",
        "--seeds",
        "9",
        "--regimes",
        "random",
        "--processes",
        "1",
    ]
    for name, value in SMALL.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen([*command, "-o", str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len([*tmp_path.glob("cells/digits-*")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = load_study(tmp_path)
    assert 2 <= len(there.cells) < 9
    assert (there.cells["status"] == "done").all()
    cell = Cell("digits", "mlp", "random", 8)
    (tmp_path / "cells" / f".{cell}-left").mkdir()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/digits-*")}
    study = Study(regimes=("random",), seeds=9, **SMALL)
    assert len(run_study(tmp_path, study, processes=1).cells) == 9
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert not [*tmp_path.glob("cells/.*")]


def pressed(folder, processes, seeds, times, after=2, **settings):
    """Press Ctrl-C, as a terminal does, when cells are stored: (cells then, exit status, stderr, seconds)."""
    command = [sys.executable, "-m", "ann2neo", "study", "--regimes", "random", "sgd_true"]
    for name, value in {**SMALL, **settings, "seeds": seeds, "processes": processes}.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(
        [*command, "-o", str(folder)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    n_stored = 0
    try:
        while n_stored < after and process.poll() is None:
            time.sleep(0.05)
            n_stored = len([*folder.glob("cells/digits-*/cell.json")])
        began = time.monotonic()
        for press in range(times):
            time.sleep(0.5 * (press > 0))
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=200)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return n_stored, process.returncode, said, time.monotonic() - began


@pytest.mark.parametrize("processes", [1, 2])
def test_after_ctrl_c_no_cell_begins_and_those_that_run_are_stored(tmp_path, processes):
    n_then, status, said, _ = pressed(tmp_path, processes, seeds=15, times=1)
    assert status == 130
    assert "interrupted: the cells that run now are finished and stored, and no other begins" in said
    n_stored = len([*tmp_path.glob("cells/digits-*/cell.json")])
    assert 2 <= n_then <= n_stored <= n_then + 2 * processes  # some may have begun while we looked
    assert f"{n_stored} of 30 cells are stored" in said
    assert "Traceback" not in said
    assert not [*tmp_path.glob("cells/.*")]
    assert (load_study(tmp_path).cells["status"] == "done").sum() >= n_stored // 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_ctrl_c_ends_at_once(tmp_path, processes):
    _, status, said, seconds = pressed(
        tmp_path, processes, seeds=4, times=2, after=processes, sgd_epochs=1_000_000
    )
    assert status == 130
    assert seconds < 20  # such a cell would take hours
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "ann2neo: interrupted"
    there = load_study(tmp_path).cells
    assert set(there["regime"]) == {"random"}
    assert (there["status"] == "done").all()


def test_other_settings_are_refused_with_the_difference(small):
    folder, _ = small
    with pytest.raises(
        ValueError, match=r"n_training 100 \(now 120\), window 20 \(now 5\): give it the same"
    ):
        run_study(folder, Study(seeds=1, **{**SMALL, "n_training": 120, "window": 5}))


def test_a_cell_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    study = Study(regimes=("random", "memorizing", "redrawn"), seeds=1, **SMALL)

    def broken(*_, **__):
        raise ArithmeticError("no")

    with monkeypatch.context() as patch:
        patch.setattr(one_cell, "train", broken)
        results = run_study(tmp_path, study, processes=1)
    status = results.cells.set_index("regime")
    assert status["status"].to_dict() == {"random": "done", "memorizing": "failed", "redrawn": "failed"}
    assert status.loc["memorizing", "error"] == "ArithmeticError: no"
    assert "digits-mlp-memorizing-0" in status.loc["redrawn", "error"]
    report = write_report(results, tmp_path).read_text(encoding="utf-8")
    assert "digits, mlp, memorizing, seed 0: failed: ArithmeticError: no" in report
    again = run_study(tmp_path, study, processes=1)
    assert "failed" not in set(again.cells["status"])


def test_a_network_that_diverges_is_told(tmp_path):
    study = Study(regimes=("random", "generalizing", "sgd_true"), seeds=1, **SMALL, sgd_learning_rate=1e20)
    results = run_study(tmp_path, study, processes=1)
    status = results.cells.set_index("regime")["status"]
    assert status["sgd_true"] == "diverged"
    assert "sgd_true, seed 0: diverged" in write_report(results, tmp_path).read_text(encoding="utf-8")


def test_processes_beside_one_another_find_the_same(small, tmp_path):
    regimes = ("random", "memorizing", "redrawn")
    beside = run_study(tmp_path, Study(regimes=regimes, seeds=1, **SMALL), processes=2)
    alone = small[1].indicators
    alone = alone[(alone["seed"] == 0) & alone["regime"].isin(regimes)].reset_index(drop=True)
    pd.testing.assert_frame_equal(beside.indicators, alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architectures": ("alexnet",)}, "architectures: unknown 'alexnet': give some of mlp, cnn"),
        ({"regimes": ("memorising",)}, "regimes: unknown 'memorising': give some of random"),
        ({"regimes": ("random", "redrawn")}, "regime 'redrawn' needs regime 'memorizing': add it to regimes"),
        ({"seeds": 0}, "seeds=0: give at least one"),
        ({"goal": 99.0}, "goal=99.0: give an accuracy above 0 and at most 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Study(**settings)


def test_bad_data(tmp_path):
    with pytest.raises(ValueError, match="n_training=5000: digits has 1797 images in all, give fewer"):
        run_study(tmp_path, Study(n_training=5000))
    with pytest.raises(ValueError, match="seed 0 draws no image of class"):
        run_study(tmp_path, Study(n_training=5))
    with pytest.raises(FileNotFoundError, match=r"mnist is not in .*give download=True"):
        run_study(tmp_path, Study(data=("mnist",)), root=tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no study in"):
        load_study(tmp_path)
    assert not any(tmp_path.iterdir())


# -- the report ----------------------------------------------------------------------------------------


def planted(values, seeds=3, missed=()):
    """Results in which an indicator has given values: regime → (at epoch 1, at the end), plus seed / 1000.

    Of the networks ``missed``, pairs of regime and seed, none reached its goal.
    """
    rows, cells = [], []
    for data in ("one", "two"):
        for seed in range(seeds):
            for regime, (early, late) in values.items():
                status = "goal not reached" if (regime, seed) in missed else "done"
                cell = {"data": data, "architecture": "mlp", "regime": regime, "seed": seed}
                cells.append({**cell, "status": status})
                for split in ("training", "test"):
                    row = {
                        "data": data,
                        "architecture": "mlp",
                        "regime": regime,
                        "seed": seed,
                        "split": split,
                    }
                    row |= {"layer": "network"}
                    for epoch, last, value in ((1, False, early), (9, True, late)):
                        rows.append(
                            {**row, "epoch": epoch, "last": last, "class_selectivity": value + seed / 1000}
                        )
    none = pd.DataFrame()
    return Results(Study(), pd.DataFrame(cells), none, pd.DataFrame(rows), none, none)


TRUE = dict.fromkeys(("generalizing", "equal_steps", "decay_true", "sgd_true", "few_true"), (0.3, 0.5))
TRUE |= dict.fromkeys(("redrawn", "true_after_shuffled"), (0.3, 0.5))
SHUFFLED = dict.fromkeys(("memorizing", "decay_shuffled", "sgd_shuffled", "few_shuffled"), (0.3, 0.1))


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "yes"),
        ({"memorizing": (0.3, 0.5)}, "no"),
        ({"redrawn": (0.3, 0.1)}, "not robust (than redrawn); not of memorization alone (redrawn)"),
        ({"redrawn": (0.3, 0.3)}, "not of memorization alone (redrawn)"),
        ({"memorizing": (0.1, 0.1)}, "not of memorization alone (epoch 1)"),
        ({"true_after_shuffled": (0.3, 0.2)}, "not of memorization alone (retrained)"),
        ({"equal_steps": (0.3, 0.1)}, "not robust (equal steps)"),
        ({"sgd_shuffled": (0.3, 0.9)}, "not robust (SGD)"),
        ({"redrawn": (0.3, 0.9)}, "yes"),
    ],
)
def test_verdicts_on_planted_results(changed, verdict):
    judged = verdicts(planted({**TRUE, **SHUFFLED, **changed}))
    assert judged["indicator"].tolist() == [INDICATORS["class_selectivity"]]
    assert judged["verdict"].tolist() == [verdict]
    if verdict != "no":
        assert judged["direction"].tolist() == ["lower"]
        assert judged["separates"].tolist() == ["2 of 2"]


def test_no_verdict_is_favourable_where_controls_are_missing():
    judged = verdicts(planted({name: {**TRUE, **SHUFFLED}[name] for name in ("generalizing", "memorizing")}))
    assert judged["verdict"].tolist() == [
        "open (not made: equal steps, decay, SGD, few, than redrawn, redrawn, retrained)"
    ]


def test_effects_are_paired_differences_over_seeds():
    rng = np.random.default_rng(0)
    results = planted({**TRUE, **SHUFFLED}, seeds=6)
    looks = results.indicators
    noise = rng.normal(size=6)[looks["seed"]]  # shared by the networks of a seed: it must drop out
    own = rng.normal(scale=0.01, size=len(looks))
    table = looks.assign(class_selectivity=looks["class_selectivity"] + noise + own)
    found = effects(dataclasses.replace(results, indicators=table))
    main = found[(found["comparison"] == "memorizing") & (found["data"] == "one")].iloc[0]
    end = table[table["last"] & (table["split"] == "training") & (table["data"] == "one")]
    by = end.pivot(index="seed", columns="regime", values="class_selectivity")
    differences = by["memorizing"] - by["generalizing"]
    assert main["effect"] == pytest.approx(differences.mean())
    assert main["n_seeds"] == 6
    assert differences.min() < main["low"] < main["effect"] < main["high"] < differences.max()
    # a bootstrap interval of a mean is close to ± 1.96 standard errors, of the plug-in variance
    width = 2 * 1.96 * differences.std(ddof=0) / np.sqrt(6)
    assert main["high"] - main["low"] == pytest.approx(width, rel=0.15)


def test_one_seed_separates_nothing_and_refutes_nothing():
    results = planted({**TRUE, **SHUFFLED}, seeds=1)
    assert not effects(results)["separates"].any()
    judged = verdicts(results)
    assert judged["verdict"].tolist() == ["cannot tell (needs 2 seeds)"]
    assert judged["separates"].tolist() == ["–"]


def test_a_network_that_missed_its_goal_is_no_evidence():
    regimes = {**TRUE, **SHUFFLED}
    missed = [("memorizing", 0)]
    results = planted(regimes, missed=missed)
    table = results.indicators
    wrong = (table["regime"] == "memorizing") & (table["seed"] == 0)
    table.loc[wrong, "class_selectivity"] = 99.0  # must change nothing
    found = effects(results).set_index("comparison")
    main = found.loc["memorizing"]
    assert main["n_seeds"].eq(2).all()
    assert main["n_missed"].eq(1).all()
    assert main["effect"].tolist() == pytest.approx([-0.4, -0.4])
    assert found.loc["decay", "n_seeds"].eq(3).all()
    assert verdicts(results)["verdict"].tolist() == ["yes"]
    all_but_one = planted(regimes, missed=[("memorizing", 0), ("generalizing", 1)])
    assert verdicts(all_but_one)["verdict"].tolist() == ["cannot tell (needs 2 seeds that reach their goal)"]
    none_did = planted(regimes, missed=[("memorizing", seed) for seed in range(3)])
    assert verdicts(none_did)["verdict"].tolist() == ["cannot tell (needs 2 seeds that reach their goal)"]
    no_control = planted(regimes, missed=[("redrawn", seed) for seed in (0, 1)])
    assert verdicts(no_control)["verdict"].tolist() == ["open (not made: than redrawn, redrawn)"]


def test_the_dose_leaves_out_networks_that_missed_their_goal():
    values = {name: (0.3, 0.5 - 0.3 * dose**3) for name, dose in DOSE.items()}
    results = planted(
        {**values, "shuffled40": (0.3, 9.0)}, missed=[("shuffled40", seed) for seed in range(3)]
    )
    assert verdicts(results)["dose"].tolist() == pytest.approx([-1])


def test_the_dose_is_a_rank_correlation():
    values = {name: (0.3, 0.5 - 0.3 * dose**3) for name, dose in DOSE.items()}
    assert verdicts(planted(values))["dose"].tolist() == pytest.approx([-1])


def test_the_report_is_written_with_its_figures_and_tables(small, tmp_path):
    _, results = small
    text = write_report(results, tmp_path, tables="parquet").read_text(encoding="utf-8")
    for name in ("training.png", "distributions.png", "fano.png", "rejected.png"):
        assert (tmp_path / name).stat().st_size > 10_000
        assert f"({name})" in text
    assert pd.read_parquet(tmp_path / "indicators.parquet").shape == results.indicators.shape
    assert "| class selectivity ε² |" in text
    looks = results.indicators
    rows = looks[looks["last"] & (looks["split"] == "training") & (looks["layer"] == "network")]
    mean = rows[rows["regime"] == "memorizing"]["dead_fraction"].mean()
    dead = text[text.index("**dead units**") :]
    assert f"| memorizing | {mean:.3f} |" in dead[: dead.index("**", 20)]


# -- the command ---------------------------------------------------------------------------------------


def test_the_options_are_the_settings_of_a_study():
    numbers = {f.name for f in dataclasses.fields(Study)} - {"data", "architectures", "regimes"}
    assert set(SETTINGS) == numbers
    defaults = Study()
    for name, (default, _) in SETTINGS.items():
        assert getattr(defaults, name) == default
        assert type(getattr(defaults, name)) is type(default)


def test_help_shows_defaults_regimes_and_architectures(capsys):
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name in (*REGIMES, *ARCHITECTURES):
        assert f" {name}" in told
    assert "training ends at this accuracy on the labels learned (default: 0.99)" in told


def test_the_command(tmp_path, capsys):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    regimes = ["--regimes", "random", "generalizing", "memorizing"]
    command = ["study", "--seeds", "2", *regimes, *options, "--processes", "1", "-o", str(tmp_path / "s")]
    assert main(command) == 0
    told, err = capsys.readouterr()
    assert "%|" not in err  # no bar where nobody watches
    assert "class selectivity" in told
    assert "cannot tell (needs 2 seeds that reach their goal)" in " ".join(told.split())
    assert "4 cells goal not reached" in told
    assert max(map(len, told.splitlines())) <= 100
    assert json.loads((tmp_path / "s" / "study.json").read_text())["seeds"] == 2
    assert main([*command, "--window", "7"]) == 2
    assert "window 20 (now 7)" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["s"]


def test_a_study_whose_tables_were_computed_otherwise_does_not_go_on(tmp_path):
    study = Study(regimes=("random",), seeds=1, **SMALL)
    run_study(tmp_path, study, processes=1)
    kept = json.loads((tmp_path / "study.json").read_text())
    assert kept.pop("measures") == 2
    (tmp_path / "study.json").write_text(json.dumps(kept))  # as before there were versions
    with pytest.raises(ValueError, match=r"another version of ann2neo.*take another folder"):
        run_study(tmp_path, dataclasses.replace(study, seeds=2), processes=1)

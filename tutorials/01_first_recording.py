# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first recording
#
# We train a small artificial network, record it as if it were a piece of cortex, and ask Elephant what we
# would ask of any recording. If you know Elephant but not networks: a network is a chain of *layers*, a
# layer is a row of *units*, and a unit answers each *stimulus* with one number, its *activation*. If you
# know networks but not Elephant: a *spike train* is the list of times at which one unit was active, and
# nearly everything in the analysis of neurons starts from it.
#
# You need `pip install 'ann2neo[demo]'`. Nothing is downloaded, and it takes about half a minute.

# %%
import tempfile
from pathlib import Path

import elephant.conversion
import elephant.kernels
import elephant.statistics
import matplotlib.pyplot as plt
import neo
import numpy as np
import quantities as pq
import torch
from elephant.spike_train_correlation import correlation_coefficient
from sklearn.datasets import load_digits
from viziphant.rasterplot import rasterplot

import ann2neo

folder = Path(tempfile.mkdtemp(prefix="ann2neo-tutorial-"))

# %% [markdown]
# ## A network that reads digits
#
# Scikit-learn carries 1797 handwritten digits of 8 × 8 pixels. Our network has one layer of 64 *ReLU*
# units: each adds up the pixels with weights of its own, and gives the sum if it is positive, otherwise 0.
# Ten outputs, one a digit, then vote. Training adjusts the weights, here on three quarters of the images.
# (The average image is subtracted from all, so that a unit responds to what is special about a digit and
# not to ink as such.)

# %%
torch.manual_seed(0)
rng = np.random.default_rng(0)
order = rng.permutation(1797)  # shuffled once, and remembered: it will matter
pixels, digit = load_digits(return_X_y=True)
images = torch.from_numpy((pixels - pixels.mean(axis=0))[order] / 16).float()
labels = torch.from_numpy(digit[order])

model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
for _ in range(20):
    for batch in torch.randperm(1347).split(128):
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

correct = (model(images[1347:]).argmax(dim=1) == labels[1347:]).float().mean().item()
print(f"{correct:.1%} of the 450 images it has never seen are read correctly")
assert correct > 0.93

# %% [markdown]
# ## Recording it
#
# `record` shows the stimuli to the model and watches its ReLU layers. A unit *spikes* when its activation
# exceeds a threshold, here 0: it spikes when it is active at all. Each stimulus takes one bin of
# pseudo-time. That the bin lasts 1 ms is a convention, with which rates come out in Hz. We keep which image
# was shown when (`ids`) and what it showed (`labels`), and divide the recording into ten trials; 1790
# images give ten equal ones.

# %%
recording = ann2neo.record(
    model,
    images[:1790],
    threshold=0.0,
    bin_size=1 * pq.ms,
    n_trials=10,
    ids=order[:1790],
    labels=labels[:1790],
)
print(recording)
assert recording.layers == ["1"]  # the second module of the model, counted from 0: the ReLUs
assert recording.raster("1").shape == (64, 1790)

# %% [markdown]
# ## The Block
#
# From here on it is neuroscience. `to_neo` gives a `neo.Block`, as you would get it from any lab: a Segment
# for each trial, in it a SpikeTrain for each unit and an Event with the stimuli; a Group for each layer.

# %%
block = recording.to_neo()
segment = block.segments[0]
print(len(block.segments), "trials;", len(segment.spiketrains), "spike trains in each")
print(segment.spiketrains[0].name, segment.spiketrains[0].annotations)
print("the first stimuli:", segment.events[0].labels[:8], "at", segment.events[0].times[:8])
assert (len(block.segments), len(segment.spiketrains)) == (10, 64)

# %% [markdown]
# ## Five questions for Elephant
#
# **1. How fast do the units fire?** `mean_firing_rate` counts spikes and divides by time.

# %%
rates = np.array(
    [
        np.mean(
            [
                elephant.statistics.mean_firing_rate(trial.spiketrains[i]).rescale("Hz")
                for trial in block.segments
            ]
        )
        for i in range(64)
    ]
)
print(f"slowest unit {rates.min():.0f} Hz, median {np.median(rates):.0f} Hz, fastest {rates.max():.0f} Hz")
p = recording.raster("1").mean(axis=1)
assert np.allclose(rates / 1000, p, rtol=1e-9)

# %% [markdown]
# A neuron of 500 Hz would be a sensation. Here it says that the unit is active at half of the images: at 1
# ms an image, the rate is just *p*, the fraction of stimuli at which the unit is active, times 1000 Hz.
#
# **2. How variable are the counts over trials?** `fanofactor` takes the trains of one unit, one of each
# trial, and divides the variance of their spike counts by the mean.

# %%
fano = np.array(
    [elephant.statistics.fanofactor([trial.spiketrains[i] for trial in block.segments]) for i in range(64)]
)
print(f"mean Fano factor {fano.mean():.2f}; mean of 1 − p: {(1 - p).mean():.2f}")
assert abs((fano / (1 - p)).mean() - 0.9) < 0.25

# %% [markdown]
# Not 1, as a Poisson process would give, but about 1 − p: we shall see why. (Each value rests on ten trials
# only, and Elephant divides by 10 rather than 9, so that even a perfect 1 − p comes out a tenth smaller.)
#
# Be careful with the word *trial*. In the cortex, trials repeat one stimulus, and the Fano factor measures
# the neuron's own noise. This network has no noise: repeat a stimulus and you get the very same spikes,
# Fano factor 0. Our trials show different images, and the variance is that of the images.
#
# **3. How long are the pauses?** `isi` gives the intervals between the spikes of a train. We take the unit
# that is active least often.

# %%
unit = int(p.argmin())
intervals = np.concatenate(
    [elephant.statistics.isi(trial.spiketrains[unit]).magnitude for trial in block.segments]
)
lengths, counts = np.unique(intervals.round().astype(int), return_counts=True)
observed = counts / counts.sum()
geometric = p[unit] * (1 - p[unit]) ** (lengths - 1)
for length in range(5):
    print(f"{lengths[length]} ms: {observed[length]:.2f} of the intervals, geometric {geometric[length]:.2f}")
assert lengths[0] == 1
assert np.abs(observed - geometric).max() < 0.06

# %% [markdown]
# A memoryless unit tosses the same coin at each image: the next spike comes after one image with
# probability p, after two with (1 − p)·p, and so on. That is the *geometric* distribution, and the counts
# follow it.
#
# **4. Do units fire together?** `correlation_coefficient` wants the trains binned; with bins of 1 ms, this
# gives back exactly the raster that we recorded.

# %%
binned = elephant.conversion.BinnedSpikeTrain(list(segment.spiketrains), bin_size=1 * pq.ms)
assert np.array_equal(binned.to_bool_array(), recording.select(trials=0).raster("1"))

varied = [train for train in segment.spiketrains if 0 < len(train) < binned.n_bins]
correlation = correlation_coefficient(elephant.conversion.BinnedSpikeTrain(varied, bin_size=1 * pq.ms))
pairs = correlation[np.triu_indices(len(varied), k=1)]
print(
    f"{len(pairs)} pairs: correlation {pairs.mean():.2f} ± {pairs.std():.2f}, from {pairs.min():.2f} to {pairs.max():.2f}"
)
assert pairs.std() > 2 / np.sqrt(binned.n_bins)

# %% [markdown]
# For independent units the spread would be about 1/√180 = 0.07. It is larger: units that see the same
# strokes are active at the same images. Each unit tosses its coin anew at each image, but the units toss
# together.
#
# **5. How does the rate change in time?** `instantaneous_rate` smooths a train with a kernel.

# %%
smooth = elephant.statistics.instantaneous_rate(
    segment.spiketrains[unit],
    sampling_period=1 * pq.ms,
    kernel=elephant.kernels.GaussianKernel(10 * pq.ms),
    border_correction=True,  # half of the kernel hangs over at either end of the trial
)
own_rate = elephant.statistics.mean_firing_rate(segment.spiketrains[unit]).rescale("Hz").item()
print(f"mean {smooth.mean().item():.0f} Hz, ± {smooth.std().item():.0f} Hz around it")
assert abs(smooth.mean().item() / own_rate - 1) < 0.15

# %% [markdown]
# The rate goes up and down, and it means nothing: the images come in random order, and what you see is
# which of them happened to follow one another. Had we shown all zeros first, then all ones, there would be
# steps here, and large Fano factors with them. The order of the stimuli is part of the experiment; that is
# why it is stored in the recording.
#
# ## A picture
#
# Viziphant draws the trial, a row a unit and a dot a spike.

# %%
figure, (above, below) = plt.subplots(
    2, 1, figsize=(8, 6), sharex=True, height_ratios=[3, 1], layout="constrained"
)
rasterplot(list(segment.spiketrains), axes=above, s=3, color="black")
above.set(ylabel="unit", xlabel="")
below.plot(smooth.times.rescale("ms"), smooth.rescale("Hz").magnitude, color="#0072B2")
below.set(xlabel="pseudo-time (ms), one image every 1 ms", ylabel=f"unit {unit}, Hz")
figure.savefig(folder / "raster.png")

# %% [markdown]
# ## What Poisson means here
#
# A Poisson process can put any number of spikes into a bin. A unit of a network gives one or none to each
# stimulus. Without memory that is a *Bernoulli* process: independent tosses of a coin with probability p.
# Its counts in W bins are binomial, mean W·p and variance W·p·(1 − p), so the Fano factor is **1 − p**, not
# 1. Only units with small p look like Poisson. `summarize` gives what we have just computed, for every unit
# at once, beside what the two processes would give. (Over n windows both are (n − 1)/n of that, since the
# variance is taken around the mean of the same n counts. `relative_fano_factor` is divided by all of it.)

# %%
summary = recording.summarize(window=20)  # counts in windows of 20 images
means = summary.layers.iloc[-1]
print(
    summary.units[["unit", "activation_probability", "fano_factor", "relative_fano_factor"]].head().round(2)
)
print(
    f"Fano factor {means['fano_factor_mean']:.2f}; divided by (n − 1)/n · (1 − p), unit by unit: {means['relative_fano_factor_mean']:.2f}"
)
assert abs(means["relative_fano_factor_mean"] - 1) < 0.15

fit = summary.fit_poisson()
rejected = fit.layers.iloc[-1]
print(f"intervals: {rejected['exponential_isi_rejected']:.0%} of units rejected as Poisson (exponential),")
print(f"           {rejected['geometric_isi_rejected']:.0%} as Bernoulli (geometric)")
assert rejected["exponential_isi_rejected"] > 0.8
assert rejected["geometric_isi_rejected"] < 0.1

# %% [markdown]
# A test against Poisson would tell us that nearly every unit is special. It only tells us that p is not
# small; against the right null, next to nothing is left. In shuffled order, the train of one unit holds
# nothing beyond p. What tells networks apart is how p is distributed over units, and how units fire
# together.
#
# Both columns can be had from Elephant itself, on SpikeTrains, with `engine="elephant"`: slower, and the
# same.

# %%
ten = recording.select(units=np.arange(10))
slow = ten.summarize(window=20, engine="elephant").units["fano_factor"]
assert np.allclose(slow, summary.units["fano_factor"][:10], rtol=1e-9, equal_nan=True)

# %% [markdown]
# ## A file for a colleague
#
# `save` takes the format from the suffix. NWB opens without ann2neo, in MATLAB, in the browser, and in Neo:

# %%
path = ann2neo.save(recording, folder / "digits.nwb")
file = neo.io.NWBIO(str(path), mode="r")
opened = file.read_block()
theirs = opened.segments[0].spiketrains[unit]
print(
    path.stat().st_size // 1024, "KiB;", theirs.name, "has", len(theirs), "spikes in", opened.segments[0].name
)
assert np.allclose(theirs.rescale("ms").magnitude, segment.spiketrains[unit].magnitude)
file.close()

# %% [markdown]
# And with ann2neo nothing at all is lost, neither thresholds nor stimuli:

# %%
assert ann2neo.load(path) == recording
print("the file holds the very same recording")

# %% [markdown]
# ## From here
#
# * `ann2neo demo` compares this network's big siblings: untrained, generalizing, and memorizing shuffled
#   labels.
# * Record a model of your own: any `torch.nn.Module`, with `layers="layer*.relu*"` for some of its layers,
#   or `ann2neo.Probe` around your own loop.
# * `ann2neo.Quantile(0.9)` as threshold, calibrated on other stimuli, gives every unit nearly the same p: what
#   is left then?

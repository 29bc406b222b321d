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
# # A network made of coins
#
# How much of what a network does is explained by the *rates* of its units? We fit each unit of a small
# network with a coin of its own, then with a coin for each class of stimuli, draw spikes from the coins, and
# look at what such *surrogates* share with the real network and what they lack. Neuroscientists do the same
# to neurons: what a surrogate lacks is what its null hypothesis cannot explain.
#
# You need `pip install 'ann2neo[demo]'`. Nothing is downloaded, and it takes about half a minute.

# %%
import matplotlib.pyplot as plt
import numpy as np

import ann2neo
from ann2neo import plot
from ann2neo.study.demo import digits
from ann2neo.study.networks import mlp
from ann2neo.study.training import accuracy, train

# %% [markdown]
# ## A network, recorded
#
# A multilayer perceptron learns to read scikit-learn's digits. We record its hidden units on images that it
# was not trained with, in random order.

# %%
data = digits()
x, y = data.images[data.training], data.labels[data.training]
x_new, y_new = data.images[data.held_out], data.labels[data.held_out]
model = mlp((64, 100, 50, 10))
train(model, x, y, until=lambda model: accuracy(model, x_new, y_new) >= 0.95, epochs=100)
network = ann2neo.record(model, x_new, labels=y_new, ids=data.held_out)
print(f"{accuracy(model, x_new, y_new):.0%} of new images are read correctly; {network}")

# %% [markdown]
# ## Two fits
#
# `fit_poisson` fits one rate to a unit, `fit_modulated` one to each class, and compares their likelihoods.
# Each parameter must pay for itself: the Bayesian information criterion (BIC) asks for ln(450)/2 ≈ 3 units of
# log-likelihood from each.

# %%
one_rate = network.summarize().fit_poisson()
by_class = network.fit_modulated("labels")
better = by_class.units["modulated_bernoulli_bic"] < by_class.units["bernoulli_bic"]
print(f"a rate for each class is worth its parameters in {better.sum()} of {len(better)} units")
print(
    f"share of a unit's variance between classes (ε²): {by_class.units['epsilon_squared'].mean():.2f} on average"
)

# %% [markdown]
# ## Two surrogates, side by side with the network
#
# `simulate` draws spike trains from a fit, as a Neo Block that every Elephant function takes. The rasters
# look alike; so do rates and Fano factors, as they must.

# %%
coins = ann2neo.Recording.from_neo(one_rate.simulate("bernoulli", seed=1))
class_coins = ann2neo.Recording.from_neo(by_class.simulate(seed=1))
recordings = {"network": network, "a coin a unit": coins, "a coin a unit and class": class_coins}
for name, recording in recordings.items():
    rates = recording.summarize(20).units["activation_probability"]
    print(f"{name:24} mean p {rates.mean():.3f}, variance over units {rates.var(ddof=0):.3f}")

# %%
plot.overview(recordings, window=20)

# %% [markdown]
# The rate *by class* is where the first surrogate fails and the second does not.

# %%
real = by_class.rates.to_numpy()
figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for ax, (name, surrogate) in zip(axes, [*recordings.items()][1:], strict=True):
    labelled = ann2neo.Recording(surrogate.rasters, network.stimuli)
    drawn = labelled.fit_modulated("labels").rates.to_numpy()
    ax.scatter(real, drawn, s=5, alpha=0.4)
    ax.set(title=name, xlabel="p of a unit and class: network")
    print(
        f"{name:24} rates by class, correlation with the network's: {np.corrcoef(real.ravel(), drawn.ravel())[0, 1]:.2f}"
    )
axes[0].set_ylabel("the same: surrogate")

# %% [markdown]
# ## What units do together
#
# Units of one layer are correlated: they look at the same image. Is that because both prefer the same
# classes (*signal correlation*), or is there more? Surrogates answer: `"stimuli"` gives each unit its spikes
# in an order of its own, `"stimuli_of_a_class"` only within a class, so that class preferences stay.


# %%
def together(recording):
    """Root mean square of the correlations of pairs in the first hidden layer."""
    correlation = np.array(recording.summarize(20).correlation("relu1"))
    pairs = correlation[np.triu_indices(len(correlation), 1)]
    return np.sqrt(np.nanmean(pairs**2))


print(f"{'network':30} {together(network):.3f}")
for method in ("stimuli_of_a_class", "stimuli"):
    nulls = [together(network.surrogate(method, seed=seed)) for seed in range(10)]
    print(f"{method:30} {np.mean(nulls):.3f} ± {np.std(nulls):.3f} (10 surrogates)")

# %% [markdown]
# Elephant's own surrogates move spikes in time. In a random order of stimuli, one bin further is another
# image altogether: moved by half a bin at most, spikes stay with their image and nothing changes; by more,
# everything that units do together is gone, as if the order were drawn anew for each unit.

# %%
for dt in (0.4, 5.0):
    moved = network.surrogate("dither_spikes", dt=dt, seed=0)
    print(f"dither_spikes by {dt} ms{'':14} {together(moved):.3f}")

# %% [markdown]
# So a layer is more than its rates, and more than its rates by class: what is left is what units tell of
# the single image. For networks with rates near 0 or 1, and for more classes, the balance is another: try.

"""Log-likelihoods of spikes in bins, and the criteria AIC and BIC."""

from __future__ import annotations

import numpy as np

PROCESSES = ("poisson", "bernoulli")
"""The memoryless processes: in continuous time, and in bins of at most one spike."""


def log_likelihood(process: str, n_spikes: np.ndarray, n_bins: np.ndarray | int, p: np.ndarray) -> np.ndarray:
    r"""Return the natural log-likelihood of n bins, N of which hold one spike.

    .. math:: \ln L_\mathrm{Poisson} = N \ln p - n p, \quad
              \ln L_\mathrm{Bernoulli} = N \ln p + (n - N) \ln (1 - p)

    Both are likelihoods of the same counts, so they can be compared. They differ by about :math:`n p^2 / 2`
    where p is small. A Poisson process, which allows for several spikes in a bin, is always less likely.

    Parameters
    ----------
    process : {"poisson", "bernoulli"}
        The process.
    n_spikes, n_bins, p : numpy.ndarray
        Spikes, bins, and the expected number of spikes in a bin, of shapes that broadcast.

    Returns
    -------
    numpy.ndarray
        float64; 0 for silent units with p = 0.

    Examples
    --------
    >>> spikes, p = np.array([0, 10, 50]), np.array([0.0, 0.1, 0.5])
    >>> log_likelihood("bernoulli", spikes, 100, p).round(2)
    array([  0.  , -32.51, -69.31])
    >>> log_likelihood("poisson", spikes, 100, p).round(2)
    array([  0.  , -33.03, -84.66])
    """
    from scipy.special import xlog1py, xlogy

    empty = -n_bins * p if process == "poisson" else xlog1py(n_bins - n_spikes, -p)
    both: np.ndarray = xlogy(n_spikes, p) + empty
    return both


def criteria(
    process: str, log_likelihood: np.ndarray, n_parameters: int, n_bins: np.ndarray | int
) -> dict[str, np.ndarray]:
    r"""Return the columns ``<process>_log_likelihood``, ``<process>_aic`` and ``<process>_bic``.

    .. math:: \mathrm{AIC} = 2 k - 2 \ln L, \quad \mathrm{BIC} = k \ln n - 2 \ln L

    with k parameters and n bins. Of two processes, the one with the lower value fits better.

    References
    ----------
    H. Akaike (1974), A new look at the statistical model identification, IEEE Transactions on Automatic
    Control 19. G. Schwarz (1978), Estimating the dimension of a model, Annals of Statistics 6.

    Examples
    --------
    >>> {name: float(value) for name, value in criteria("poisson", np.array(-40.0), 1, 1).items()}
    {'poisson_log_likelihood': -40.0, 'poisson_aic': 82.0, 'poisson_bic': 80.0}
    """
    return {
        f"{process}_log_likelihood": log_likelihood,
        f"{process}_aic": 2 * n_parameters - 2 * log_likelihood,
        f"{process}_bic": n_parameters * np.log(n_bins) - 2 * log_likelihood,
    }

"""k-means as it is used throughout: scikit-learn's, with ten starts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


def k_means(rows: NDArray[np.floating[Any]], k: int, seed: int = 0) -> NDArray[np.int64]:
    """(n,) clusters 0..k-1 of the rows (n, d), n at least k; of fewer than k distinct rows some clusters are empty."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # about the empty clusters, which are counted elsewhere
        return np.asarray(KMeans(n_clusters=k, n_init=10, random_state=seed).fit_predict(rows), dtype=np.int64)

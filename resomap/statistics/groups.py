"""Groups of images that stand or fall together, and what they are worth beside independent images.

Ten images of one patient are not ten patients. The influence values of a group's images are summed before variances
are formed, which gives the cluster-robust variance (Liang & Zeger 1986; Field & Welsh 2007 for the bootstrap that
resamples groups), and critical values have the degrees of freedom of the groups.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

# Correlation of two images of a group, where so few were judged wrong that the predictions cannot tell it.
CORRELATION = 0.5


def unbiased(counts: int | np.ndarray) -> np.ndarray:
    """Return the factor of influence values that makes variances those of n - 1, as DeLong's is, for n = counts.

    One image, or group, alone has none to correct.
    """
    return np.asarray(np.sqrt(counts / np.maximum(np.asarray(counts) - 1, 1)))


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of N images: the group [N] of each, numbered from 0 without gaps. `are_images`: each image is its own."""

    of_image: np.ndarray
    count: int
    are_images: bool

    @classmethod
    def of(cls, groups: np.ndarray | None, images: int) -> "Groups":
        """Return the groups of a sample: labels of any kind [images], or None where each image is its own."""
        if groups is not None:
            names, number = np.unique(np.asarray(groups), return_inverse=True)
            if len(names) < images:
                return cls(number.astype(int), len(names), False)
        return cls(np.arange(images), images, True)

    def sums(self, influence: np.ndarray) -> np.ndarray:
        """Return the sums [..., groups] of influence values [..., N], made unbiased for variances.

        The sum of the squares of the result is the variance: with the factor G / (G - 1), for each image its own
        group none (the metrics have theirs).
        """
        if self.are_images:
            return influence
        return np.asarray(influence @ self._indicator) * unbiased(self.count)

    def sparse_sums(self, influence: sparse.csr_array) -> sparse.csr_array:
        """Return `sums` of influence values [N, parts] as [groups, parts]."""
        if self.are_images:
            return influence
        return sparse.csr_array(self._indicator.T @ influence) * float(unbiased(self.count))

    def effective(self, images: np.ndarray) -> float:
        """Return how many groups of equal size the chosen images (bool [N]) are worth (Kish 1965), at least 1."""
        sizes = np.bincount(self.of_image[images], minlength=self.count).astype(float)
        return float(sizes.sum() ** 2 / max(1.0, (sizes**2).sum()))

    def freedom(self, labels: np.ndarray) -> float:
        """Return the degrees of freedom of a variance that each class has an equal say in (Satterthwaite 1946).

        labels int [N] are the classes; a class with as many images as all together has one less than its groups.
        """
        classes = [labels == label for label in np.unique(labels)]
        units = np.array([self.effective(chosen) for chosen in classes])
        return float((1 / units).sum() ** 2 / (1 / (units**2 * np.maximum(units - 1, 0.5))).sum())

    def design_effect(self, images: np.ndarray | None = None) -> float:
        """Return by how much a mean over the chosen images (bool [N]; None: all) varies more than of single ones.

        For a correlation of CORRELATION within a group (Kish 1965); 1 where each image is its own group.
        """
        if self.are_images:
            return 1.0
        chosen = self.of_image if images is None else self.of_image[images]
        sizes = np.bincount(chosen, minlength=self.count).astype(float)
        return float(1 + CORRELATION * ((sizes**2).sum() / max(1.0, sizes.sum()) - 1))

    @property
    def _indicator(self) -> sparse.csr_array:
        shape = (len(self.of_image), self.count)
        return sparse.csr_array((np.ones(shape[0]), (np.arange(shape[0]), self.of_image)), shape=shape)

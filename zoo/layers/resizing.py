"""Weights that lie on a grid, resized to another: position embeddings, and the filters of patches.

Paper: Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929, section 3.2 (position embeddings are interpolated)
Paper: Beyer et al., 2022, https://arxiv.org/abs/2212.08013, section 3.2 (filters of patches, by pseudo-inverse)
Shapes: NumPy arrays in and out
"""

import numpy as np


def cubic(distance):
    """Returns Keys's cubic kernel, a = -0.5, at distances in samples; 0 from 2 on."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def bicubic_matrix(old, new):
    """Returns the float64 matrix (new, old) that resizes a row of `old` samples to `new` with the cubic kernel.

    When it shrinks, the kernel is widened so that every old sample counts (antialiasing), as Pillow, PyTorch
    (`antialias=True`) and timm do; beyond the ends the kernel is cut off and the rest scaled to a sum of one.
    """
    scale = max(old / new, 1.0)
    centre = (np.arange(new)[:, None] + 0.5) * old / new
    weights = cubic((np.arange(old) + 0.5 - centre) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def resized_grid(table, old, new):
    """Resizes embeddings (..., T, D), one per cell of a grid row by row; what comes before the cells is kept.

    Args:
        table: array (..., T, D); T is the number of cells plus leading embeddings, such as the class token's.
        old: (rows, columns) of its grid.
        new: (rows, columns) of the grid to return.

    Returns:
        Array (..., T', D) of the same type.
    """
    cells = old[0] * old[1]
    first, grid = np.split(table, [table.shape[-2] - cells], axis=-2)
    grid = grid.astype("float64").reshape(*table.shape[:-2], *old, table.shape[-1])
    rows, columns = (bicubic_matrix(o, n) for o, n in zip(old, new, strict=True))
    grid = np.einsum("ri,cj,...ijd->...rcd", rows, columns, grid, optimize=True)
    grid = grid.reshape(*table.shape[:-2], new[0] * new[1], table.shape[-1])
    return np.concatenate([first, grid.astype(table.dtype)], axis=-2)


def resized_patches(kernel, size):
    """Resizes a patch embedding's kernel (P, P, C, D) to (size, size, C, D), for patches of another size.

    The new filters give a resized patch the embedding, or in shrinking the nearest to it, that the old filters give
    the patch itself: the kernel is multiplied by the pseudo-inverse of the resizing.
    """
    inverse = np.linalg.pinv(bicubic_matrix(kernel.shape[0], size).T)  # (size, P): of the transpose, on each axis
    return np.einsum("ri,cj,ijkd->rckd", inverse, inverse, kernel.astype("float64"), optimize=True).astype(kernel.dtype)

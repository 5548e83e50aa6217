"""A loss as a user writes it."""

ROOT_TVERSKY = '''
from lesionloss import Voxels, loss

@loss("root_tversky", source="my thesis, eq. 3")
def root_tversky(v: Voxels, *, delta: float = 0.7):
    """Root Tversky: the square root keeps the gradient alive for small lesions."""
    c = v.counts()
    index = (c.tp + v.eps) / (c.tp + delta * c.fn + (1 - delta) * c.fp + v.eps)
    return (1 - index).clamp_min(v.eps).sqrt()
'''

"""More losses a second time, from the equations, on the images of `losses_by_hand`. Shares no line with src."""

import math

from losses_by_hand import Image, S, counts, over_lesions, voxel_sum, wrong


def lovasz(x: Image, c: int, errors: list[float]) -> float:
    """Σ m_i (J(the i largest errors are wrong) - J(the i - 1 largest)), J from the sets."""
    order = sorted(x.voxels, key=lambda i: -errors[i])
    held = {i for i in x.voxels if x.t[c][i]}
    total = before = 0.0
    for k, i in enumerate(order, 1):
        bad = set(order[:k])
        union = len(held | bad)
        now = 1 - len(held - bad) / union
        total += errors[i] * (now - before)
        before = now
    return total


def lovasz_softmax(x, background):
    return over_lesions(
        x, background, lambda c: lovasz(x, c, [abs(a - b) for a, b in zip(x.p[c], x.t[c], strict=True)])
    )


def lovasz_hinge(x, background):
    def errors(c):
        odds = [x.log_p[c][i] - math.log(wrong(x.log_p[c][i])) for i in x.voxels]
        return [max(0.0, 1 - (z if x.t[c][i] else -z)) for i, z in enumerate(odds)]

    return over_lesions(x, background, lambda c: lovasz(x, c, errors(c)))


def matthews(x, background):
    def value(c):
        tp, fp, fn = counts(x, c)
        tn = math.fsum(wrong(x.log_p[c][i]) * (1 - x.t[c][i]) for i in x.voxels)
        tp, tn = tp + S, tn + S
        root = math.sqrt(tp + fp) * math.sqrt(tp + fn) * math.sqrt(tn + fp) * math.sqrt(tn + fn)
        return 1 - (tp * tn - fp * fn) / root

    return over_lesions(x, background, value)


def soft_dice_semimetric(x, background):
    def value(c):
        apart = math.fsum(abs(x.p[c][i] - x.t[c][i]) for i in x.voxels)
        return apart / (math.fsum(x.p[c]) + math.fsum(x.t[c]) + 2 * S)

    return over_lesions(x, background, value)


def poly_cross_entropy(x, background, epsilon=1.0):
    return voxel_sum(x, lambda c, ce, q: ce + epsilon * q) / x.n


def poly_focal(x, background_too, gamma=2.0, epsilon=1.0, lesion=0.25, background=0.75):
    def term(c, ce, q):
        return (background if c == 0 else lesion) * (q**gamma * ce + epsilon * q ** (gamma + 1))

    return voxel_sum(x, term) / x.n


def logit_margin(x, background, margin=10.0):
    # Differences of logits are those of log-probabilities.
    columns = [[row[i] for row in x.log_p] for i in x.voxels]
    return math.fsum(max(0.0, max(z) - each - margin) for z in columns for each in z) / x.n


def calibration_error(x, background, bins=20):
    def value(c):
        members: dict[int, list[int]] = {}
        for i in x.voxels:
            members.setdefault(min(int(x.p[c][i] * bins), bins - 1), []).append(i)
        gaps = [abs(math.fsum(x.p[c][i] - x.t[c][i] for i in held)) / len(held) for held in members.values()]
        return math.fsum(gaps) / max(1, len(gaps))

    return over_lesions(x, background, value)

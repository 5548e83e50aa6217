"""A paired difference and the verdict on it: what the numbers of one loss and its baseline allow to say."""

from dataclasses import dataclass

from lesionloss.statistics.evidence import ALPHA, Interval, smallest_p

DECIDED = ("better", "worse", "equivalent")
SEEDS_FOR_A_VERDICT = 2
FREEDOM_FOR_A_VERDICT = 1.5  # two folds have 1: their interval is 12.7 standard errors to each side
NETWORKS_ONLY = (
    "seeds unknown",
    "one seed",
    "one split",
    "two folds",
)  # reasons that leave nothing to say of the losses
CREDIBLE = 0.95


@dataclass(frozen=True)
class Chances:
    """Posterior probabilities that a loss is worse, equivalent (within the margin) and better."""

    worse: float
    equivalent: float
    better: float


@dataclass(frozen=True)
class PairedDifference:
    """A loss minus the baseline, patient by patient, on pairs of the same case, fold and seed.

    Metrics that are best at zero are compared by their absolute values; descriptions (a volume) are not tested.
    Infinite distances are replaced by the diagonal. `pairing` is "training run" if weights and batches are proven
    equal, "patient" if only the patients are the same.

    Attributes:
        loss_mean: The mean of the loss over the patients of the pairs; `mean` is its difference from `baseline_mean`.
        interval: For new patients and these networks; simultaneous over all comparisons.
        interval_new_training_runs: For new patients, training sets and seeds, simultaneous; it contains `interval`, as
            the verdict needs both tests. None where nothing is known of the losses.
        error: Standard error of the mean over new training runs, at least that over patients; `freedom` are the degrees
            of freedom of the folds.
        patients: Patients with a pair; `pairs` counts pairs, `undefined` those without a difference.
        improved: Patients that are better than with the baseline; `worsened` are worse.
        rank_biserial: 1 if every patient is better, -1 if every patient is worse.
        failures: Patients with a failed prediction (Dice below .1, else an empty one), of the loss and of the baseline.
        p_patients: Two-sided p of the declared `test` over patients; `p_patients_holm` is corrected.
        p_new_training_runs: Two-sided p over the folds.
        p: The larger one, None without a verdict; `p_holm` is corrected for `comparisons` planned comparisons
            (`correction`: Holm, or Bonferroni where several primary metrics have an order).
        seeds: Seeds of the fold that has fewest.
        level: 5 %, or what an interim look may use.
        margin: The smallest difference that matters; 0: none.
        chances: Posterior probabilities (Corani and Benavoli 2015); None without a verdict.
        unanswered: Why there can be no verdict; empty if there can.
    """

    loss: str
    baseline: str
    metric: str
    lower_is_better: bool
    mean: float | None
    loss_mean: float | None
    baseline_mean: float | None
    interval: Interval | None
    interval_new_training_runs: Interval | None
    error: float | None
    freedom: float
    patients: int
    pairs: int
    undefined: int
    improved: int
    worsened: int
    rank_biserial: float | None
    failures: tuple[int, int]
    worst: float | None
    test: str
    p_patients: float | None
    p_patients_holm: float | None
    p_new_training_runs: float | None
    p: float | None
    p_holm: float | None
    comparisons: int
    p_sign_flip: float | None
    p_signed_rank: float | None
    p_rank_sum: float | None
    seed_means: tuple[tuple[int, float], ...]
    seeds: int
    folds: int
    level: float
    margin: float
    decision: str
    correction: str
    chances: Chances | None
    unanswered: str
    pairing: str

    @property
    def can_be_shown(self) -> bool:
        """Whether so many patients can give p < 5 % at all, with all differences on one side and Holm's correction."""
        return self.patients > 1 and self.comparisons * smallest_p(self.patients) < self.level

    @property
    def share_improved(self) -> float | None:
        """The share of patients that are better than with the baseline."""
        return self.improved / self.patients if self.patients else None

    @property
    def gain(self) -> float:
        """The mean difference, positive if the loss is better; 0 if there is none."""
        return (-1 if self.lower_is_better else 1) * (self.mean or 0.0)

    @property
    def undone_by(self) -> tuple[float, float] | None:
        """For a verdict that failures too rare to be seen could undo: the rate that would, and the one not excluded.

        Both are shares of patients above those that failed. The second one is the upper bound (95 %, one-sided; the
        rule of three) of the failure rate of the better loss; None if no such rate undoes the verdict.
        """
        from scipy import stats

        losses = {"better": (self.failures[0], self.loss_mean), "worse": (self.failures[1], self.baseline_mean)}
        failures, score = losses.get(self.verdict, (0, None))
        if score is None or self.worst is None or score == self.worst or failures >= self.patients:
            return None
        enough = abs(self.gain / (score - self.worst))
        bound = float(stats.beta.ppf(1 - ALPHA, failures + 1, self.patients - failures))
        unseen = bound - failures / self.patients
        return (enough, unseen) if enough < unseen else None

    @property
    def networks_differ(self) -> bool:
        """Whether these networks differ on new patients, however their training runs turned out."""
        return self.p_patients_holm is not None and self.p_patients_holm < self.level

    @property
    def not_inferior(self) -> bool:
        """Whether the interval over new training runs excludes that the loss is worse by the margin or more."""
        bounds = self.interval_new_training_runs
        if self.unanswered or self.margin == 0 or bounds is None:
            return False
        return bounds.high < self.margin if self.lower_is_better else bounds.low > -self.margin

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `equivalent` or `undecided`; where there can be no verdict, the reason."""
        if self.unanswered:
            return self.unanswered
        if self.decision == "bayesian":
            return self._of_chances()
        bounds = self.interval_new_training_runs
        if self.margin and bounds is not None and -self.margin < bounds.low and bounds.high < self.margin:
            return "equivalent"
        if self.p_holm is None or self.p_holm >= self.level or self.gain == 0:
            return "undecided"
        if self.test == "signed_rank" and (self.rank_biserial or 0.0) * self.gain < 0:
            return "undecided"  # the ranks and the mean contradict each other
        return "better" if self.gain > 0 else "worse"

    def _of_chances(self) -> str:
        found = () if self.chances is None else zip(DECIDED, _in_order(self.chances), strict=True)
        return next((name for name, chance in found if chance > CREDIBLE), "undecided")

    @property
    def decided(self) -> bool:
        """Whether the verdict says anything about the losses."""
        return self.verdict in DECIDED


def _in_order(chances: Chances) -> tuple[float, float, float]:
    return chances.better, chances.worse, chances.equivalent

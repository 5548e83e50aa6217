"""How losses rank on training patches, training images and test images, and with each seed, as Markdown.

    python benchmarks/rankings_of_splits.py runs/seeds-lit
    python benchmarks/rankings_of_splits.py runs/seeds-lit --metric precision

Needs a run with curves and its report. A score is the mean of a training run at the last epoch; folds count alike. The
ranking of a seed is that of the means over its folds; agreement is Kendall's tau of two rankings (1: the same order,
-1: reversed).
"""

import argparse
from itertools import combinations
from pathlib import Path

import pandas as pd
from reported_run import reported_run
from scipy.stats import kendalltau

from lesionloss.core.number_text import listed, number
from lesionloss.report.history import SPLITS


def scores_of(run: Path, metric: str) -> pd.DataFrame:
    """Columns split, loss, seed and mean: the mean over folds at the last epoch."""
    table = pd.read_csv(run / "tables" / "training-runs.csv")
    table = table[table["metric"] == metric].replace({"split": SPLITS})
    if table["split"].nunique() < len(SPLITS):
        raise SystemExit(f"{run}: no curves of {metric} on {listed(list(SPLITS.values()))}; the plan needs [curves]")
    return table.groupby(["split", "loss", "seed"], sort=False)["mean"].mean().reset_index()


def means_table(scores: pd.DataFrame) -> str:
    """A row for each loss: its mean and rank in each split, and the range of its seeds on test images."""
    means = scores.pivot_table(index="loss", columns="split", values="mean", sort=False)
    ranks = means.rank(ascending=False).astype(int)
    seeds = scores[scores["split"] == SPLITS["test"]].groupby("loss")["mean"].agg(["min", "max"])
    rows = [["loss", *means.columns, "seeds on test images"], ["---"] * (len(means.columns) + 2)]
    for loss in means.index:
        cells = [f"{number(means.loc[loss, split])} ({ranks.loc[loss, split]})" for split in means.columns]
        rows.append([str(loss), *cells, f"{number(seeds.loc[loss, 'min'])} to {number(seeds.loc[loss, 'max'])}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def winners(scores: pd.DataFrame) -> str:
    """A row for each seed: the best loss in each split."""
    splits = list(scores["split"].unique())
    rows = [["seed", *splits], ["---"] * (len(splits) + 1)]
    for seed, part in scores.groupby("seed", sort=False):
        best = part.loc[part.groupby("split", sort=False)["mean"].idxmax()].set_index("split")["loss"]
        rows.append([str(seed), *(str(best[split]) for split in splits)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def agreements(scores: pd.DataFrame) -> list[str]:
    """Sentences: how splits agree within a seed, and seeds within a split."""
    found = []
    by_run = scores.pivot_table(index="loss", columns=["split", "seed"], values="mean")
    splits, seeds = list(scores["split"].unique()), list(scores["seed"].unique())
    for one, other in combinations(splits, 2):
        taus = [kendalltau(by_run[one, seed], by_run[other, seed]).statistic for seed in seeds]
        found.append(f"{one} and {other}, same seed: tau {_summary(taus)}")
    for split in splits:
        pairs = list(combinations(seeds, 2))
        taus = [kendalltau(by_run[split, one], by_run[split, other]).statistic for one, other in pairs]
        changed = sum(by_run[split, one].idxmax() != by_run[split, other].idxmax() for one, other in pairs)
        text = f"{split}, two seeds: tau {_summary(taus)}; another best loss in {changed} of {len(pairs)} pairs"
        found.append(text)
    return found


def _summary(taus: list[float]) -> str:
    mean = sum(taus) / len(taus)
    return f"{number(mean, 2)} on average ({listed([number(min(taus), 2), number(max(taus), 2)])} at the ends)"


def main() -> None:
    """Read the arguments, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=reported_run, help="the run folder, with tables (lesionloss report RUN)")
    parser.add_argument("--metric", default="dice", help="a metric with curves (default: dice)")
    arguments = parser.parse_args()
    scores = scores_of(arguments.run, arguments.metric)
    print(means_table(scores), winners(scores), sep="\n\n", end="\n\n")
    print("\n".join(f"- {line}" for line in agreements(scores)))


if __name__ == "__main__":
    main()

"""The results of a run: its plan, its trials, its cohort. Scores, images and probability maps are read when needed."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.number_text import plural
from lesionloss.data.prepared import load_prepared
from lesionloss.runs.earlier_plans import EarlierPlan, additions
from lesionloss.runs.epoch_scores import epoch_means
from lesionloss.runs.kept_predictions import read_prediction, read_probability
from lesionloss.runs.metric_facts import MetricFacts, metric_facts
from lesionloss.runs.metric_scores import DeclaredRules, MetricScores, split_rows
from lesionloss.runs.run_records import CohortCase, FailedTrial, LeftOut, MissingTrial, RunTrial
from lesionloss.runs.scores import read_scores

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCE_THRESHOLD = "difference_threshold"
RUNS = "runs"
DEFAULT_MARGINS = {"dice": 0.01}
DECLARED_TESTS = ("sign_flip", "signed_rank")  # what a plan may name as its test


@dataclass(frozen=True, eq=False)
class Results:
    """A run folder; `load` makes one. Tables and maps are read when they are first used.

    `repeated` is a trial that was trained again, for the noise floor; it is no part of any comparison.
    `earlier_plans`: the plans before losses or seeds were added.
    `table`: all scores of a run that is no folder but one table, with the columns of `scores`.
    """

    folder: Path
    plan: Mapping[str, Any]
    trials: tuple[RunTrial, ...]
    failed: tuple[FailedTrial, ...]
    missing: tuple[MissingTrial, ...]
    cohort: tuple[CohortCase, ...]
    left_out: tuple[LeftOut, ...]
    repeated: tuple[RunTrial, ...] = ()
    table: "pd.DataFrame | None" = None
    earlier_plans: tuple[EarlierPlan, ...] = ()
    _prepared: dict[str, MetricScores] = field(default_factory=dict, repr=False)

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """All scores.csv in one long table, with the columns `key` and `method` in front.

        Raises:
            DataError: A table is damaged; the message names file and line.
        """
        import pandas as pd

        if self.table is not None:
            return self.table
        tables = []
        for trial in self.trials:
            table = read_scores(trial.file("scores.csv"), trial.record.get("test", ()))
            table.insert(0, "key", trial.key)
            table.insert(1, "method", trial.method)
            tables.append(table.assign(loss=trial.loss, fold=trial.fold, seed=trial.seed))
        return pd.concat(tables, ignore_index=True) if tables else read_scores(None).assign(key="", method="")

    def metric_scores(self, metric: str) -> MetricScores:
        """The scores of one metric, prepared at the first call and kept.

        Raises:
            UsageError: The metric was not scored, or the plan names an unknown test.
            DataError: A table of scores is damaged or holds an impossible value.
        """
        if metric not in self._prepared:
            self._prepared[metric] = self._prepare(metric)
        return self._prepared[metric]

    def _prepare(self, metric: str) -> MetricScores:
        if metric not in self.metrics:
            hint = nearest(metric, list(self.metrics)) if self.metrics else "no trial has been scored yet"
            raise UsageError(f"no metric {metric!r} in {self.folder}; {hint}")
        facts = metric_facts(metric)
        rows, without_lesions, classes = split_rows(
            self._held_out.get(metric, self.scores.iloc[:0]), facts, self.cohort
        )
        for key, case, value in zip(rows["key"], rows["case"], rows["value"], strict=True):
            if not facts.possible(value):
                raise DataError(
                    f"{self.folder}/trials/{key}/scores.csv: {metric} of case {case} is {value:g}, which is not "
                    "possible; remove the trial's folder and bench again"
                )
        return MetricScores(
            facts=facts,
            rows=rows,
            without_lesions=without_lesions,
            classes=classes,
            losses=self.losses,
            untrained=self.untrained,
            baseline=self.baseline_loss,
            rules=self._rules(metric),
            worst=self._worst(facts),
            trials=self.trials,
            failed=self.failed,
            missing=self.missing,
            folder=self.folder,
        )

    def _rules(self, metric: str) -> DeclaredRules:
        plan = self.plan
        margins = dict(plan.get("margin", {}))
        default = DEFAULT_MARGINS.get(metric, 0.0)
        planned = [loss for loss in self.losses if loss not in self.untrained]
        return DeclaredRules(
            test=self.declared_test,
            decision=str(plan.get("decision", "frequentist")),
            margin=float(margins.get(metric, default)),
            margin_is_default=metric not in margins and default > 0,
            baseline=self.baseline_loss,
            losses=len(planned),
            trials=len(self.trials) + len(self.failed) + len(self.missing),
            folds=plan["folds"] if isinstance(plan.get("folds"), int) else 0,
            repeats=int(plan.get("repeats", 1)),
            stepwise=metric not in self.ordered_metrics,
            seeds_known=not self.collected or bool(self.plan.get("seeds")),
            collected=bool(self.collected),
            added=self.additions,
        )

    def _worst(self, facts: MetricFacts) -> float | None:
        if facts.unit == "mm" and self.cohort:
            return float(np.mean([case.diagonal_mm for case in self.cohort]))
        return 0.0 if facts.zero_if_empty else None

    @cached_property
    def _held_out(self) -> "Mapping[str, pd.DataFrame]":
        table = self.scores[self.scores["split"] == "test"]
        return {str(metric): rows for metric, rows in table.groupby("metric", sort=False)}

    @cached_property
    def epoch_means(self) -> "pd.DataFrame":
        """Mean scores of each training run during training, by metric, split and epoch; empty without curves."""
        return epoch_means(self.scores, self.metrics)

    @cached_property
    def losses(self) -> tuple[str, ...]:
        """Losses in the plan's order, then all others that were run (the difference threshold last)."""
        planned = [str(text) for text in self.plan.get("losses", [])]
        found = sorted({trial.loss for trial in self.trials} | {trial.loss for trial in self.failed})
        return tuple(dict.fromkeys(planned + found))

    @cached_property
    def additions(self) -> str:
        """What was added to the plan when trials had finished; empty if nothing was."""
        return additions(self.plan, self.earlier_plans, self.trials)

    @property
    def collected(self) -> Mapping[str, Any]:
        """Where the predictions of a run come from that this program did not train; empty for a benchmark."""
        found: Mapping[str, Any] = self.plan.get("collected", {})
        return found

    @cached_property
    def untrained(self) -> frozenset[str]:
        """Methods without a training run, listed as losses; they have no seed."""
        return frozenset(trial.loss for trial in self.trials if trial.method == DIFFERENCE_THRESHOLD)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that were scored, the primary one first, then in the plan's order."""
        scored = list(dict.fromkeys(self.scores["metric"]))
        planned = [self.primary_metric, *map(str, self.plan.get("metrics", []))]
        return tuple(dict.fromkeys([name for name in planned if name in scored] + scored))

    @property
    def primary_metric(self) -> str:
        """The metric that the plan declares as the deciding one."""
        return str(self.plan.get("primary_metric", "dice"))

    @property
    def ordered_metrics(self) -> tuple[str, ...]:
        """Several primary metrics in their declared order, those that were scored; empty for a plan with one."""
        declared = [str(metric) for metric in self.plan.get("primary_metrics", ())]
        return tuple(metric for metric in declared if metric in self.metrics) if len(declared) > 1 else ()

    @property
    def baseline_loss(self) -> str:
        """The loss that the others are compared with.

        Raises:
            UsageError: The run has no loss at all.
        """
        if not self.losses:
            raise UsageError(f"{self.folder}: no loss was planned or run; there is nothing to compare")
        return str(self.plan.get("baseline_loss", self.losses[0]))

    @property
    def declared_test(self) -> str:
        """The statistical test that the plan declares before the run; the sign-flip test of the mean by default.

        Raises:
            UsageError: No test has this name.
        """
        name = str(self.plan.get("test", DECLARED_TESTS[0]))
        if name not in DECLARED_TESTS:
            hint = nearest(name, list(DECLARED_TESTS))
            raise UsageError(f"{self.folder}/plan.toml: no test is named {name!r}; {hint}")
        return name

    @cached_property
    def shared_patients(self) -> frozenset[str]:
        """Patients of whom a network saw cases in training before it was tested on others of them."""
        owners = {case.name: case.patient for case in self.cohort}
        found: set[str] = set()
        for record in {(tuple(t.record.get("train", ())), tuple(t.record.get("test", ()))) for t in self.trials}:
            train, test = ({owners.get(name, name) for name in side} for side in record)
            found |= train & test
        return frozenset(found)

    def case(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a prepared case.

        Args:
            name: The case, as in `cohort`.

        Returns:
            `image` (channels, *space); `reference`, `brain` and, if there is one, `ignore` (*space); `affine` (4, 4);
            `channels`, `classes`: their names as JSON.

        Raises:
            UsageError: The case is unknown.
            DataError: Its file is damaged.
        """
        known = [case.name for case in self.cohort]
        if name not in known:
            raise UsageError(f"{self.folder}: no case is named {name!r}; {nearest(name, known)}")
        case = load_prepared(self.folder / "cohort" / f"{name}.npz")
        arrays: dict[str, NDArray[Any]] = {
            "image": case.image,
            "reference": case.reference,
            "brain": case.brain,
            "affine": case.affine,
        }
        ignore: dict[str, NDArray[Any]] = {} if case.ignore is None else {"ignore": case.ignore}
        names = {"channels": np.array(json.dumps(case.channels)), "classes": np.array(json.dumps(case.classes))}
        return {**arrays, **ignore, **names}

    def has_probability(self, key: str, case: str) -> bool:
        """Whether the probability map of a held-out case was kept."""
        return (self.folder / "trials" / Path(key).name / "predictions" / f"{Path(case).name}.npz").is_file()

    def probability(self, key: str, case: str) -> NDArray[np.float32]:
        """The probability map of one held-out case, as it was scored.

        Args:
            key: The key of a trial.
            case: The name of a case that this trial was tested on.

        Returns:
            The probability of any lesion in [0, 1], float32 (*space).

        Raises:
            UsageError: The trial is unknown.
            DataError: The map is absent, damaged or not float32.
        """
        return read_probability(self._trial(key), case)

    def classes(self, key: str, case: str) -> NDArray[np.uint8] | None:
        """The class numbers (*space) that one held-out case was scored by; None if the run has one class.

        Raises:
            UsageError: The trial is unknown.
            DataError: The file is absent or damaged.
        """
        return read_prediction(self._trial(key), case).labels

    def machine(self, key: str) -> dict[str, Any]:
        """The content of a trial's machine.json; empty if there is none.

        Raises:
            UsageError: The trial is unknown.
            DataError: The file is damaged.
        """
        return self._trial(key).machine

    def _trial(self, key: str) -> RunTrial:
        for trial in self.trials:
            if trial.key == key:
                return trial
        raise UsageError(f"{self.folder}: no trial {key!r}; {nearest(key, [trial.key for trial in self.trials])}")


def shared_patients_warning(patients: Collection[str]) -> str:
    """What must be said of a run that trained on and tested cases of the same patients; empty where it did not."""
    if not patients:
        return ""
    return (
        f"cases of {plural(len(patients), 'patient')} are in training and in test at once, so scores are better than "
        "they would be for new patients"
    )

"""The methods paragraph of a paper: every setting, version and seed of the run, with its sources."""

from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import listed, plural
from lesionloss.report.facts_of_run import distinct
from lesionloss.report.loss_cards import LossCard
from lesionloss.report.run_settings import data, in_words, part, preparation, section
from lesionloss.report.wording import INTERVAL_METHOD, TEST_TITLES
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results
from lesionloss.statistics import declared_test

FEW_SPACINGS = 3
_SOURCES_OF_STATISTICS = (
    "Fisher 1935 (sign-flip test)",
    "Wilcoxon 1945 (signed-rank test)",
    "Holm 1979 (correction for several comparisons)",
    "Hartigan 1969 (intervals from means of subsets)",
)


def methods(results: Results, cards: tuple[LossCard, ...], *, paired: bool) -> tuple[str, ...]:
    """Paragraphs: data, training, losses, judgement, statistics, versions.

    `paired`: the hashes of all trainings prove that losses shared weights and batches.
    """
    parts = (_data(results), _training(results, paired), _losses(cards), _judgement(results), _statistics(results))
    return tuple(part for part in (*parts, _versions(results)) if part)


def sources(results: Results, cards: tuple[LossCard, ...]) -> tuple[str, ...]:
    """What is to be cited: of losses, metrics and tests, each once."""
    from lesionloss.metrics import choose

    found = [f"{part.source} ({part.name})" for card in cards for part in card.parts]
    for metric in results.metrics:
        try:
            record = choose(metric).metric
        except UsageError:
            continue
        found.append(f"{record.source} ({record.title})")
    return tuple(dict.fromkeys([*found, *_SOURCES_OF_STATISTICS]))


def _data(results: Results) -> str:
    if not results.cohort:
        return ""
    targets = distinct(trial.record.get("target") for trial in results.trials).replace("_", " ")
    patients = {case.patient for case in results.cohort}
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    text = f"Data: {data(results) or 'the cohort'}{f' ({targets})' if targets else ''}"
    text += f", {plural(len(patients), 'patient')}, {plural(len(results.cohort), 'case')}"
    text += f" ({without} without lesions in the reference)" if without else ""
    folds = results.plan.get("folds")
    text += f", split by patient into {plural(folds, 'fold')}" if isinstance(folds, int) and folds > 1 else ""
    fold_seed = results.plan.get("fold_seed")
    text += f" (seed of the folds {fold_seed})" if fold_seed is not None and "folds" in text else ""
    spacings = {case.spacing_mm for case in results.cohort}
    voxels = "; ".join(sorted(" × ".join(f"{mm:g}" for mm in spacing) for spacing in spacings))
    grid = (
        f" Voxels: {voxels} mm." if len(spacings) <= FEW_SPACINGS else f" Voxels: {len(spacings)} different spacings."
    )
    left = f" {plural(len(results.left_out), 'case')} could not be used." if results.left_out else ""
    unseen = " Every patient was predicted by networks that had not seen it." if _held_out(results) else ""
    return f"{text}.{grid}{unseen}{left} {section(results, 'data')}{preparation(results)}".strip()


def _held_out(results: Results) -> bool:
    """Whether no trial was tested on what it learnt from."""
    return all(not set(t.record.get("train", [])) & set(t.record.get("test", [])) for t in results.trials)


def _training(results: Results, paired: bool) -> str:
    records = [trial.record for trial in results.trials if trial.method != DIFFERENCE_THRESHOLD]
    if not records:
        return ""
    known = part(results, "training")
    said = in_words(known)
    used = distinct(record.get("precision") for record in records)
    said += f" (used: {used})" if used and used != str(known.get("precision", used)) else ""
    seeds = ", ".join(str(seed) for seed in results.plan.get("seeds", []))
    pairs = (
        "Within a fold and seed all losses started from the same weights and saw the same patches in the same order."
        if paired
        else "Not all losses shared initial weights and batches."
    )
    last = (
        " The weights that did best on patients set aside from the training patients were judged."
        if known.get("validation_share")
        else " The weights of the last step were judged."
    )
    network = section(results, "network")
    networks = distinct(record.get("network") for record in records)
    return f"Training: {networks}; {said or 'settings of the plan'}; seeds {seeds}. {pairs}{last} {network}".strip()


def _losses(cards: tuple[LossCard, ...]) -> str:
    named = [f"{card.loss} ({'; '.join(part.source for part in card.parts)})" for card in cards if card.parts]
    return f"Losses: {listed(named)}." if named else ""


def _judgement(results: Results) -> str:
    metrics = ", ".join(results.metrics)
    if not metrics:
        return ""
    thresholds = distinct(trial.record.get("threshold") for trial in results.trials)
    settings = part(results, "inference")
    windows = f", {in_words(settings, but=('threshold',))}" if in_words(settings, but=("threshold",)) else ""
    return (
        f"Judgement: whole images, probability threshold {thresholds or '0.5'}{windows}; metrics {metrics}, "
        f"{results.primary_metric} declared as primary. Cases without lesions were left out of metrics that need one "
        "and are reported on "
        "their own; an empty prediction where there are lesions was charged the image's diagonal in distances."
    )


def _statistics(results: Results) -> str:
    if not results.losses:
        return ""
    return (
        "Statistics: the patient is the unit; seeds, then cases of a patient were averaged. "
        f"{INTERVAL_METHOD} "
        f"Losses were compared with {results.baseline_loss} on the same case, fold and seed by the two-sided "
        f"{TEST_TITLES[declared_test(results)]}, Holm-corrected over losses."
    )


def _versions(results: Results) -> str:
    machines = [results.machine(trial.key) for trial in results.trials]
    known = (("lesionloss", "lesionloss"), ("python", "Python"), ("torch", "PyTorch"), ("numpy", "NumPy"))
    versions = [f"{title} {said}" for key, title in known if (said := distinct(m.get(key) for m in machines))]
    where = distinct(m.get("processor") if m.get("device", "cpu") == "cpu" else m.get("device") for m in machines)
    return f"Software: {', '.join(versions)}{f'; on {where}' if where else ''}." if versions else ""

"""The methods paragraphs for a paper: all settings, versions and seeds of the run, with their sources."""

from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import listed, plural
from lesionloss.report.collected_words import collected_patients, collected_training
from lesionloss.report.facts_of_run import distinct
from lesionloss.report.loss_cards import LossCard
from lesionloss.report.run_settings import (
    data_words,
    mixed_words,
    plan_section,
    preparation_sentence,
    section_sentence,
    settings_words,
)
from lesionloss.report.wording import INTERVAL_METHOD, TEST_TITLES, VERDICT_METHOD
from lesionloss.runs.results import Results, shared_patients_warning

FEW_SPACINGS = 3
_EMPTY = (
    "Cases without lesions are not part of metrics that need lesions; they are reported separately. In distances, an "
    "empty prediction for a case with lesions counts as the diagonal of the image."
)
_SOURCES_OF_STATISTICS = (
    "Fisher 1935 (sign-flip test)",
    "Wilcoxon 1945 (signed-rank test)",
    "Holm 1979 (correction for several comparisons)",
    "Hartigan 1969 (intervals from means of subsets)",
    "Nadeau and Bengio 2003; Bouckaert and Frank 2004 (variance over training sets)",
    "Corani and Benavoli 2015; Benavoli et al. 2017 (posterior probabilities, region of practical equivalence)",
    "Mohamad, Goeman and van Zwet 2019 (intervals of ranks)",
)


def methods(results: Results, cards: tuple[LossCard, ...], *, paired: bool) -> tuple[str, ...]:
    """Paragraphs on data, training, losses, evaluation, statistics and versions.

    Args:
        results: The run.
        cards: The cards of its losses.
        paired: Whether the hashes of all training runs prove that the losses shared weights and batches.
    """
    parts = (
        _data(results),
        _training(results, paired),
        _losses(results, cards),
        _evaluation(results),
        _statistics(results),
    )
    return tuple(part for part in (*parts, _versions(results)) if part)


def sources(results: Results, cards: tuple[LossCard, ...]) -> tuple[str, ...]:
    """The sources to cite for losses, metrics and tests, each once."""
    from lesionloss.metrics import choose

    found = [f"{term.source} ({term.name})" for card in cards for term in card.terms]
    for metric in results.metrics:
        try:
            record = choose(metric).metric
        except UsageError:
            continue
        found.append(f"{record.source} ({record.title})")
    return tuple(dict.fromkeys([*found, *_SOURCES_OF_STATISTICS]))


def _data(results: Results) -> str:
    if not results.cohort:
        return f"Data: {collected_patients(results)}." if results.table is not None or results.collected else ""
    targets = distinct(trial.record.get("target") for trial in results.trials).replace("_", " ")
    patients = {case.patient for case in results.cohort}
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    text = f"Data: {data_words(results) or 'the cohort'}{f' ({targets})' if targets else ''}"
    text += f", {plural(len(patients), 'patient')}, {plural(len(results.cohort), 'case')}"
    text += f" ({without} without lesions in the reference)" if without else ""
    folds, by = results.plan.get("folds"), results.plan.get("split_by", "patient")
    text += (
        f", {'in' if results.collected else f'split by {by} into'} {plural(folds, 'fold')}"
        if isinstance(folds, int) and folds > 1
        else ""
    )
    fold_seed = results.plan.get("fold_seed")
    text += f" (seed of the folds {fold_seed})" if fold_seed is not None and "folds" in text else ""
    repeats = results.plan.get("repeats", 1)
    text += f", {repeats} times" if repeats > 1 else ""
    spacings = {case.spacing_mm for case in results.cohort}
    voxels = "; ".join(sorted(" × ".join(f"{mm:g}" for mm in spacing) for spacing in spacings))
    grid = (
        f" Voxels: {voxels} mm." if len(spacings) <= FEW_SPACINGS else f" Voxels: {len(spacings)} different spacings."
    )
    left_out = f" {plural(len(results.left_out), 'case')} could not be used." if results.left_out else ""
    unseen = " Each patient was predicted only by networks that were not trained on it."
    if results.collected and not all(trial.record.get("train") for trial in results.trials):
        unseen = " Whether a network was trained on a patient that it predicts is unknown."
    if shared := shared_patients_warning(results.shared_patients):
        unseen = f" {shared[0].upper()}{shared[1:]}."
    mixed = mixed_words(results)
    added = f" Mixed into the training folds only, never into validation or test: {'; '.join(mixed)}." if mixed else ""
    settings = f"{section_sentence(results, 'data')}{preparation_sentence(results)}"
    return f"{text}.{grid}{unseen}{left_out}{added} {settings}".strip()


def _training(results: Results, paired: bool) -> str:
    records = [trial.record for trial in results.trials if trial.loss not in results.untrained]
    if results.collected:
        return collected_training(results, paired)
    if not records:
        return ""
    section = plan_section(results, "training")
    settings = settings_words(section)
    used = distinct(record.get("precision") for record in records)
    settings += f" (used: {used})" if used and used != str(section.get("precision", used)) else ""
    seeds = ", ".join(str(seed) for seed in results.plan.get("seeds", []))
    pairs = (
        "Within a fold and seed, all losses started from the same weights and used the same patches in the same order."
        if paired
        else "Not all losses shared initial weights and batches."
    )
    aside = " Some training data were set aside for validation." if section.get("validation_share") else ""
    best = section.get("validation_share") and section.get("keep", "best") == "best"
    last = f"{aside} The weights {'with the best score on them' if best else 'of the last step'} were evaluated."
    network = section_sentence(results, "network")
    networks = distinct(record.get("network") for record in records)
    return f"Training: {networks}; {settings or 'settings of the plan'}; seeds {seeds}. {pairs}{last} {network}".strip()


def _losses(results: Results, cards: tuple[LossCard, ...]) -> str:
    named = [f"{card.loss} ({'; '.join(term.source for term in card.terms)})" for card in cards if card.terms]
    chosen = {
        key: value for key, value in plan_section(results, "loss_options").items() if value not in (False, "count")
    }
    options = f", all with {settings_words(chosen)}" if chosen else ""
    return f"Losses: {listed(named)}{options}." if named else ""


def _evaluation(results: Results) -> str:
    metrics = ", ".join(results.metrics)
    if not metrics:
        return ""
    if results.collected:
        return f"Evaluation: {_collected_evaluation(results)}; metrics {metrics}. {_EMPTY}"
    thresholds = distinct(trial.record.get("threshold") for trial in results.trials)
    section = plan_section(results, "inference")
    settings = settings_words(section, but=("threshold", "decision"))
    by_threshold = section.get("decision", "threshold") == "threshold"
    decision = (
        f"probability threshold {thresholds or '0.5'}" if by_threshold else "the most probable class of each voxel"
    )
    windows = f", {settings}" if settings else ""
    order = f", and the order {', '.join(results.ordered_metrics)}" if results.ordered_metrics else ""
    return (
        f"Evaluation: whole images, {decision}{windows}; metrics {metrics}; "
        f"the primary metric {results.primary_metric} was declared before the run{order}. {_EMPTY}"
    )


def _collected_evaluation(results: Results) -> str:
    """How others' predictions were scored, or that others scored them."""
    named = "baseline and primary metric were named when they were collected"
    if "table" in results.collected:
        return f"the scores are those of the table; {named}"
    probable = [trial for trial in results.trials if trial.has_probabilities]
    thresholds = distinct(trial.record.get("threshold") for trial in probable)
    maps = f", probability maps at threshold {thresholds}" if probable else ""
    return f"whole images, the masks as they were given{maps}; {named}"


def _statistics(results: Results) -> str:
    if not results.losses:
        return ""
    rules = results.metric_scores(results.metrics[0]).rules if results.metrics else None
    decision = (
        "The plan declares that posterior probabilities above 95 % decide. "
        if rules and rules.decision == "bayesian"
        else ""
    )
    margin = (
        f"Differences below {rules.margin:g} in {results.metrics[0]} do not matter"
        f"{' (the default margin)' if rules.margin_is_default else ' (declared in the plan)'}: a loss is equivalent if "
        "both simultaneous intervals lie within it. "
        if rules and rules.margin
        else ""
    )
    return (
        "Statistics: the patient is the unit; values were averaged over seeds, then over the cases of a patient. "
        f"{INTERVAL_METHOD} "
        f"Losses were compared with {results.baseline_loss} on the same case, fold and seed; the test over patients is "
        f"the two-sided {TEST_TITLES[results.declared_test]}. {VERDICT_METHOD} {decision}{margin}"
        "Intervals of differences are simultaneous (Bonferroni)."
    )


def _versions(results: Results) -> str:
    machines = [results.machine(trial.key) for trial in results.trials]
    known = (("lesionloss", "lesionloss"), ("python", "Python"), ("torch", "PyTorch"), ("numpy", "NumPy"))
    versions = [f"{title} {version}" for key, title in known if (version := distinct(m.get(key) for m in machines))]
    where = distinct(m.get("processor") if m.get("device", "cpu") == "cpu" else m.get("device") for m in machines)
    return f"Software: {', '.join(versions)}{f'; on {where}' if where else ''}." if versions else ""

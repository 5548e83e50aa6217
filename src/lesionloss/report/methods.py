"""The methods of a run as sentences that a paper can print; settings that are defaults are left to the supplement."""

from itertools import groupby

from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import listed, plural
from lesionloss.core.version import __version__
from lesionloss.report.collected_words import collected_patients, collected_training
from lesionloss.report.facts_of_run import distinct
from lesionloss.report.loss_cards import LossCard
from lesionloss.report.loss_references import loss_in_text
from lesionloss.report.run_settings import data_words, mixed_words, plan_section, prepared_words, value_words
from lesionloss.report.settings_table import settings_table
from lesionloss.report.wording import TEST_TITLES
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.results import Results, shared_patients_warning

FEW_SPACINGS = 3
_EMPTY = "Cases without lesions were not part of metrics that need lesions; they are reported separately."
_EMPTY_IN_DISTANCES = " In distances, an empty prediction for a case with lesions counted as the diagonal of the image."
_KEPT_CAPITALS = ("Brier", "Dice", "Jaccard", "Hausdorff", "Matthews")
_SOURCES_OF_STATISTICS = (
    "Fisher 1935 (sign-flip test)",
    "Wilcoxon 1945 (signed-rank test)",
    "Holm 1979 (correction for several comparisons)",
    "Hartigan 1969 (intervals from means of subsets)",
    "Nadeau and Bengio 2003; Bouckaert and Frank 2004 (variance over training sets)",
    "Corani and Benavoli 2015; Benavoli et al. 2017 (posterior probabilities, region of practical equivalence)",
    "Mohamad, Goeman and van Zwet 2019 (intervals of ranks)",
)
# Settings that the sentences name, whether they are defaults or not.
_NAMED = frozenset(f"training.{key}" for key in ("steps", "epochs", "batch", "patch", "optimiser", "learning_rate")) | {
    "network.text",
    "inference.threshold",
    "inference.decision",
}
_LEFT_TO_DEFAULTS = ("loss_options", "network", "training", "inference", "curves")


def methods(results: Results, cards: tuple[LossCard, ...], *, paired: bool) -> tuple[str, ...]:
    """Paragraphs on data, training and losses, evaluation, statistics, and software with its defaults.

    Args:
        results: The run.
        cards: The cards of its losses.
        paired: Whether the hashes of all training runs prove that the losses shared weights and batches.
    """
    trained = " ".join(filter(None, (_losses(cards), _training(results, paired))))
    parts = (_data(results), trained, _evaluation(results), _statistics(results), _software(results))
    return tuple(part for part in parts if part)


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
        known = results.table is not None or results.collected
        return f"The data are the scores of {collected_patients(results)}." if known else ""
    targets = distinct(trial.record.get("target") for trial in results.trials).replace("_", " ")
    patients = {case.patient for case in results.cohort}
    without = sum(case.reference_mm3 == 0 for case in results.cohort)
    text = f"The data were {data_words(results) or 'the cases of a cohort'}{f' ({targets})' if targets else ''}"
    text += f": {plural(len(patients), 'patient')}, {plural(len(results.cohort), 'case')}"
    text += f", {without} of them without lesions in the reference" if without else ""
    spacings = {case.spacing_mm for case in results.cohort}
    voxels = "; ".join(sorted(" × ".join(f"{mm:g}" for mm in spacing) for spacing in spacings))
    flat = all(len(spacing) == 2 for spacing in spacings)  # pictures: their files have no size of a pixel
    one = f"A pixel counted as {voxels} mm." if flat else f"The voxels measured {voxels} mm."
    few = one if len(spacings) <= FEW_SPACINGS else "The sizes of the voxels differed."
    left_out = f"{plural(len(results.left_out), 'case')} could not be used." if results.left_out else ""
    mixed = mixed_words(results)
    added = f"Into the training folds only, never into validation or test, were mixed: {'; '.join(mixed)}."
    parts = (f"{text}.", few, left_out, prepared_words(results), _folds(results), added if mixed else "")
    return " ".join(filter(None, parts))


def _folds(results: Results) -> str:
    """How patients were divided, and whether networks were tested on patients that they had not seen."""
    folds, repeats = results.plan.get("folds"), results.plan.get("repeats", 1)
    divided = ""
    if isinstance(folds, int) and folds > 1:
        by = results.plan.get("split_by", "patient")
        divided = f"The cohort was split by {by} into {plural(folds, 'fold')}"
        divided += f", {repeats} times. " if repeats > 1 else ". "
    if shared := shared_patients_warning(results.shared_patients):
        return f"{divided}{shared[0].upper()}{shared[1:]}."
    if results.collected and not all(trial.record.get("train") for trial in results.trials):
        return f"{divided}Whether a network was trained on a patient that it predicts is unknown."
    return f"{divided}Each patient was predicted only by networks that were not trained on it."


def _losses(cards: tuple[LossCard, ...]) -> str:
    named = [loss_in_text(card) for card in cards if card.terms]
    return f"{'The loss was' if len(named) == 1 else 'The losses were'} {listed(named)}." if named else ""


def _training(results: Results, paired: bool) -> str:
    records = [trial.record for trial in results.trials if trial.loss not in results.untrained]
    if results.collected:
        return collected_training(results, paired)
    if not records:
        return ""
    section = plan_section(results, "training")
    seeds = [str(seed) for seed in results.plan.get("seeds", [])]
    seeded = f" ({listed(seeds)})" if seeds else ""
    networks, used = (distinct(record.get(key) for record in records) for key in ("network", "precision"))
    length = f"{section['epochs']} epochs" if section.get("epochs") else f"{section.get('steps', '?')} steps"
    words = {"batch": "batches of {}", "patch": "patches of {} voxels", "optimiser": "{}", "learning_rate": "{}"}
    stated = {key: form.format(value_words(section[key])) for key, form in words.items() if section.get(key)}
    parts = [" ".join(filter(None, (stated.get("batch"), stated.get("patch"))))]
    parts += [f"the optimiser {stated['optimiser']}"] if "optimiser" in stated else []
    parts += [f"a learning rate of {stated['learning_rate']}"] if "learning_rate" in stated else []
    parts += [f"{used} arithmetic"] if used else []
    settings = f", with {listed(parts)}" if (parts := [part for part in parts if part]) else ""
    start = f"For each loss, fold and seed{seeded}, a network ({networks}) was trained for {length}{settings}."
    pairs = (
        "Within a fold and seed, all losses started from the same weights and used the same patches in the same order."
        if paired
        else "Not all losses shared initial weights and batches."
    )
    aside = " Some training data were set aside for validation." if section.get("validation_share") else ""
    best = section.get("validation_share") and section.get("keep", "best") == "best"
    last = f"{aside} The weights {'with the best score on them' if best else 'of the last step'} were evaluated."
    return f"{start} {pairs}{last}"


def _evaluation(results: Results) -> str:
    if not results.metrics:
        return ""
    facts = {metric: metric_facts(metric) for metric in results.metrics}
    titles = {metric: in_sentence(each.title) for metric, each in facts.items()}
    empty = _EMPTY + (_EMPTY_IN_DISTANCES if any(each.unit == "mm" for each in facts.values()) else "")
    metrics = f"The {'metric was' if len(titles) == 1 else 'metrics were'} {listed(titles.values())}"
    if results.collected:
        return f"{_collected_evaluation(results)} {metrics}. {empty}"
    thresholds = distinct(trial.record.get("threshold") for trial in results.trials)
    by_threshold = plan_section(results, "inference").get("decision", "threshold") == "threshold"
    decision = (
        f"a voxel was lesion where its probability was at least {thresholds or '0.5'}"
        if by_threshold
        else "each voxel got its most probable class"
    )
    ordered = [in_sentence(metric_facts(metric).title) for metric in results.ordered_metrics]
    order = f", as was the order {', '.join(ordered)}" if ordered else ""
    primary = titles.get(results.primary_metric, results.primary_metric)
    added = f" {results.additions[0].upper()}{results.additions[1:]}." if results.additions else ""
    return (
        f"Whole images were evaluated; {decision}. {metrics}; the primary metric, {primary}, was declared before the "
        f"run{order}. {empty}{added}"
    )


def in_sentence(title: str) -> str:
    """The title of a metric within a sentence: `expected calibration error`, but `Dice` and `AUPRC`."""
    word = title.split(maxsplit=1)[0]
    plain = word not in _KEPT_CAPITALS and word[1:].replace("-", "").isalpha() and word[1:].islower()
    return title[0].lower() + title[1:] if plain else title


def _collected_evaluation(results: Results) -> str:
    """How others' predictions were scored, or that others scored them."""
    named = "Baseline and primary metric were named when the predictions were collected."
    if "table" in results.collected:
        return f"The scores are those of a table. {named}"
    probable = [trial for trial in results.trials if trial.has_probabilities]
    thresholds = distinct(trial.record.get("threshold") for trial in probable)
    maps = f", and probability maps at threshold {thresholds}" if probable else ""
    return f"Whole images were evaluated, masks as they were given{maps}. {named}"


def _statistics(results: Results) -> str:
    if not results.losses:
        return ""
    rules = results.metric_scores(results.metrics[0]).rules if results.metrics else None
    test = TEST_TITLES[results.declared_test]
    verdicts = (
        "A verdict needed the larger one of two p values to be below 5 % after correction for all planned comparisons "
        f"({'Holm' if rules is None or rules.stepwise else 'Bonferroni'}): that of the two-sided {test} over patients, "
        "and that of Student's t over the means of the folds, which includes new training sets and seeds."
    )
    if rules and rules.decision == "bayesian":
        verdicts = "A verdict needed a posterior probability above 95 % (correlated t over the folds)."
    margin = (
        f"Differences below {rules.margin:g} in {in_sentence(metric_facts(results.metrics[0]).title)} do not matter "
        f"({'the default margin' if rules.margin_is_default else 'declared in the plan'}): a loss was called "
        "equivalent if its interval lay within this margin."
        if rules and rules.margin
        else ""
    )
    parts = (
        "The patient is the unit: values were averaged over seeds, then over the cases of a patient. Intervals are "
        "95 % intervals: all means that a two-sided sign-flip test over patients does not reject, or those of "
        "Student's t with too few patients for that test.",
        f"Each loss was compared with {results.baseline_loss} on the same case, fold and seed.",
        verdicts,
        margin,
        "Intervals of differences are simultaneous for all losses (Bonferroni).",
    )
    return " ".join(filter(None, parts))


def _software(results: Results) -> str:
    """Versions and machine, and the settings that are no defaults."""
    machines = [results.machine(trial.key) for trial in results.trials]
    known = (("lesionloss", "lesionloss"), ("python", "Python"), ("torch", "PyTorch"), ("numpy", "NumPy"))
    versions = [f"{title} {version}" for key, title in known if (version := distinct(m.get(key) for m in machines))]
    where = distinct(m.get("processor") if m.get("device", "cpu") == "cpu" else m.get("device") for m in machines)
    ran = f"The run used {listed(versions)}{f' on {where}' if where else ''}." if versions else ""
    return " ".join(filter(None, (ran, "" if results.collected else _differing(results))))


def _differing(results: Results) -> str:
    """The settings that differ from the defaults and that no sentence names."""
    found = [
        each
        for each in settings_table(results)
        if each.differs and each.name not in _NAMED and each.name.startswith(tuple(f"{s}." for s in _LEFT_TO_DEFAULTS))
    ]
    defaults = f"the defaults of lesionloss {__version__}"
    if not found:
        return f"All other settings are {defaults}; the supplement lists them."
    groups = [
        f"{listed(f'{_plain(each.name)} {each.value}' for each in members)} ({section.replace('_', ' ')})"
        for section, members in groupby(found, key=lambda each: each.name.partition(".")[0])
    ]
    return f"All other settings are {defaults}, but for {'; '.join(groups)}. The supplement lists all of them."


def _plain(name: str) -> str:
    return name.partition(".")[2].replace("_", " ")

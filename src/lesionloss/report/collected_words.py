"""What is said of predictions that others made: where they come from, what is unknown, and what did not fit."""

from collections import Counter

from lesionloss.core.number_text import listed, plural
from lesionloss.runs.results import Results

SHOWN = 3  # mismatches of tables, which have no collected.toml
ORIGINS = (
    ("nnunet", "the validation predictions in nnU-Net's results"),
    ("table", "a table of scores that others computed"),
    ("predictions", "predictions that others made"),
)


def mismatch_counts(results: Results) -> list[str]:
    """How often each kind of mismatch was found: `3 × missing combination`."""
    kinds = Counter(str(text).partition(": ")[0] for text in results.collected.get("mismatches", ()))
    return [f"{count} × {kind}" for kind, count in kinds.items()]


def collected_notes(results: Results) -> list[tuple[str, str]]:
    """Notes at the top of a report, each with its title; empty for a benchmark."""
    if not results.collected:
        return []
    unknown = f" Unknown: {unknown_words(results)}." if unknown_words(results) else ""
    notes = [("Trained elsewhere.", f"This program did not train these networks.{unknown}")]
    if results.collected.get("compares") == "method":
        notes.append(("Methods.", "They may differ in more than their losses."))
    if results.cohort and not results.collected.get("images"):
        notes.append(("No images.", "Pictures show reference and predictions on black."))
    if counts := mismatch_counts(results):
        named = (
            "collected.toml lists each" if results.table is None else "; ".join(results.collected["mismatches"][:SHOWN])
        )
        notes.append(("Does not fit.", f"{listed(counts)}; left out or incomplete: {named}."))
    return notes


def unknown_words(results: Results) -> str:
    """What is not known of the networks."""
    unknown = [str(what) for what in results.collected.get("unknown", ())]
    return listed(unknown) if unknown else ""


def origin_words(results: Results) -> str:
    """Where the predictions come from."""
    return next((words for key, words in ORIGINS if key in results.collected), "predictions that others made")


def collected_training(results: Results, paired: bool) -> str:
    """The paragraph on training: who trained, and what pairs the losses."""
    seeds = ", ".join(str(seed) for seed in results.plan.get("seeds", []))
    what = "methods" if results.collected.get("compares") == "method" else "losses"
    pairs = (
        "Hashes that the trainer wrote prove that within a fold and seed all losses started from the same weights and "
        "saw the same batches."
        if paired
        else f"The {what} are paired by patient; no record of training proves that they differ in nothing else."
    )
    known = f"Seeds {seeds}." if seeds else ""
    differs = "; ".join(map(str, results.collected.get("differs", ())))
    also = f"What may differ all the same: {differs}." if differs else ""
    origin = f"Here, the networks were trained elsewhere; these are {origin_words(results)}."
    unknown = f"Unknown: {unknown_words(results)}." if unknown_words(results) else ""
    paired_words = (pairs, also) if len(results.losses) > 1 else ()
    return " ".join(filter(None, (origin, known, *paired_words, unknown)))


def collected_patients(results: Results) -> str:
    """Patients and cases of scores without images: `12 patients, 14 cases`."""
    held_out = results.scores
    return f"{plural(held_out['patient'].nunique(), 'patient')}, {plural(held_out['case'].nunique(), 'case')}"

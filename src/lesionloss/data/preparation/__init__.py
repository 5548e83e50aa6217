"""From raw visits to prepared cases: the recipe, its steps, one case, a whole cohort."""

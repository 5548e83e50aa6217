"""Make a run: the plan, its trials, and the engines that execute them."""

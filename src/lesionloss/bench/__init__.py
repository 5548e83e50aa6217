"""What is asked, what is left to do, what a run folder holds."""

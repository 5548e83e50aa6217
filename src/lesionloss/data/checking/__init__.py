"""A data set read, described and checked: damaged files, duplicate images, leaks between splits."""

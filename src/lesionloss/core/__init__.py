"""Foundations of all other packages: errors, files, randomness, catalogues, parameters, devices, drawing."""

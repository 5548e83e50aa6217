"""What everybody stands on: errors, files, randomness, names, numbers as text, devices, drawing."""

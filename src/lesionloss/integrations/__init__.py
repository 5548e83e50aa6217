"""The losses and metrics in the trainers of others, one module or folder for each; nothing here is imported unasked."""

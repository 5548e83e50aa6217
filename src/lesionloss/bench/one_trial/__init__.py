"""What one trial does and writes: training, predictions, scores, curves."""

"""What every run over stimuli shares: batches, evaluation mode, calibration, origin, partial results."""

"""Stages 1 and 3: settings, data, the training loop, checkpoints and checks during a training."""

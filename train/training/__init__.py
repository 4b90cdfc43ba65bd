"""Stages 1 and 3: methods' settings, the loop, checkpoints and what is watched."""

"""The Python API for notebooks and scripts: ``import orl_explorer as orl``."""

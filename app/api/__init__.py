"""The Python API: what ``import orl_explorer as orl`` offers to notebooks and scripts."""

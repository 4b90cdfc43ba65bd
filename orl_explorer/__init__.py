"""ORL Explorer: object-level self-supervised learning from ordinary scene photos, made visible.

``orl`` is the method, ``db`` the store, ``train`` whatever runs for minutes, ``app`` the command line and the explorer.
In the repository they are links to the folders at its top, see docs/decisions/0010-one-package.md.
"""

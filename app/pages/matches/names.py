"""Names of pairs for the browser: the set and the key, since the same key is another pair in another set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.pages.shell import as_id
from orl_explorer.db.sets.pairs import ListedPair, matches_at


def name_of(set_id: int, key: int) -> str:
    """Return the name of a pair: the browser may say it again when another set is on screen."""
    return f"{set_id}-{key}"


def named_pairs(names: Iterable[object], only: int | None = None) -> dict[str, ListedPair]:
    """Return pairs by their names; unknown names are left out. only: the set that they must be of."""
    keys: dict[int, set[int]] = {}
    for name in names:
        of, _, key = name.partition("-") if isinstance(name, str) else ("", "", "")
        set_id = as_id(of)
        if set_id is not None and only in (None, set_id) and key.isdecimal() and len(key) < 19:
            keys.setdefault(set_id, set()).add(int(key))
    store = workspace().store
    return {
        name_of(set_id, pair.key): pair
        for set_id, some in keys.items()
        for pair in matches_at(store, set_id, np.array(sorted(some), np.int64))
    }

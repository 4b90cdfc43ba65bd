"""The log of actions: who has launched, stopped, resumed, added, moved, renamed and deleted what."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select

from orl_explorer.db.marks import Action
from orl_explorer.db.store import Store

Logged = Literal["launch", "stop", "kill", "resume", "add", "move", "rename", "delete"]


def log_action(store: Store, author: str, action: Logged, subject: str, detail: str = "") -> None:
    """Add a line to the log."""
    with store.session() as session:
        session.add(Action(author=author, action=action, subject=subject, detail=detail))


def actions(store: Store, limit: int | None = None) -> list[Action]:
    """Return the log, newest first."""
    with store.session() as session:
        return list(session.scalars(select(Action).order_by(Action.id.desc()).limit(limit)))

"""Which store this is. Files that are keyed by row ids carry it, so that they are never taken for another store's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from orl_explorer.db.base import Base


class StoreIdentity(Base):
    """One row, written when the store was made, or upgraded to have it. Copies and backups keep it."""

    __tablename__ = "store_identity"
    identity: Mapped[str] = mapped_column(String(32), primary_key=True)  # hex digits of a random UUID
    created_at: Mapped[datetime]

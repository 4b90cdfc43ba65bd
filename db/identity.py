"""The identity of a store. Files keyed by row ids record it, so that they are not used with another store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from orl_explorer.db.base import Base


class StoreIdentity(Base):
    """One row, written when the store is created or upgraded. Copies and backups keep it."""

    __tablename__ = "store_identity"
    identity: Mapped[str] = mapped_column(String(32), primary_key=True)  # hex digits of a random UUID
    created_at: Mapped[datetime]

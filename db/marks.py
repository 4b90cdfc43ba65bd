"""Tables of what people mark and do: verdicts, tags, selections, actions.

Their names are public, as those of ``db.models``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from orl_explorer.db.base import Base
from orl_explorer.db.models import now

Judgement = Literal["good", "wrong", "interesting"]


class Verdict(Base):
    """A person's judgement of a pair of RoIs: good, wrong or interesting."""

    __tablename__ = "verdict"
    query_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"), primary_key=True)
    key_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"), primary_key=True)
    author: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[Judgement] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Tag(Base):
    """A tag on a photo."""

    __tablename__ = "tag"
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    __table_args__ = (Index("ix_tag_tag_image_id", "tag", "image_id"), {"sqlite_with_rowid": False})


class PairTag(Base):
    """A tag on a pair of RoIs, in every set that has the pair."""

    __tablename__ = "pair_tag"
    query_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"), primary_key=True)
    key_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    __table_args__ = (
        Index("ix_pair_tag_tag_query_roi_id_key_roi_id", "tag", "query_roi_id", "key_roi_id"),
        {"sqlite_with_rowid": False},
    )


class Selection(Base):
    """An immutable, named group of photos that a link can refer to."""

    __tablename__ = "selection"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    image_ids: Mapped[bytes] = mapped_column(LargeBinary)  # int64 [n] little-endian, ascending
    author: Mapped[str]


class Action(Base):
    """Something that a person or an account has done: launched, stopped, deleted, renamed, added."""

    __tablename__ = "action"
    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    author: Mapped[str]
    action: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str]  # such as: run 3, set holiday-pairs
    detail: Mapped[str]

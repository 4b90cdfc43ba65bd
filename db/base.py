"""The base class of all tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Float, MetaData
from sqlalchemy.orm import DeclarativeBase

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SHOWN = ("id", "kind", "name", "path", "protocol", "status")


class Base(DeclarativeBase):
    """Declarative base; constraint names are fixed so that migrations can address them."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON, datetime: DateTime, float: Float}  # noqa: RUF012

    def __repr__(self) -> str:
        """Name what a person knows a row by: ``Dataset(id=1, name='holiday')``."""
        said = (f"{name}={self.__dict__[name]!r}" for name in SHOWN if name in self.__dict__)
        return f"{type(self).__name__}({', '.join(said)})"

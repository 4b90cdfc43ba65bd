"""Encoders known to the store."""

from __future__ import annotations

from sqlalchemy import select

from orl_explorer.db.models import Encoder
from orl_explorer.db.store import Store, StoreError


def encoders(store: Store) -> list[Encoder]:
    """All encoders, oldest first."""
    with store.session() as session:
        return list(session.scalars(select(Encoder).order_by(Encoder.id)))


def find_encoder(store: Store, name: str) -> Encoder | None:
    """The encoder of this name, if there is one."""
    with store.session() as session:
        return session.scalar(select(Encoder).where(Encoder.name == name))


def encoder_named(store: Store, name: str) -> Encoder:
    """The encoder of this name. Raises StoreError naming those that exist."""
    found = find_encoder(store, name)
    if found is None:
        known = ", ".join(e.name for e in encoders(store))
        hint = f"Known encoders: {known}." if known else "Add one with `orl encoders add starter --name starter`."
        raise StoreError(f"There is no encoder '{name}'. {hint}")
    return found


def encoder_by_id(store: Store, encoder_id: int) -> Encoder:
    """The encoder of this id. Raises StoreError when there is none."""
    with store.session() as session:
        found = session.get(Encoder, encoder_id)
        if found is None:
            raise StoreError(f"There is no encoder {encoder_id}.")
        return found


def add_encoder(store: Store, encoder: Encoder) -> Encoder:
    """Remember an encoder. The same weights under the same name are one; raises StoreError on a taken name."""
    with store.session() as session:
        taken = session.scalar(select(Encoder).where(Encoder.name == encoder.name))
        if taken is not None:
            if taken.weights_sha256 == encoder.weights_sha256:
                return taken
            raise StoreError(f"The encoder name '{encoder.name}' is taken; choose another.")
        session.add(encoder)
        session.flush()
        return encoder

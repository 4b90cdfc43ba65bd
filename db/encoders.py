"""Encoders in the store."""

from __future__ import annotations

from sqlalchemy import select

from orl_explorer.db.models import Encoder
from orl_explorer.db.store import Store, StoreError

VECTORS = "vectors"  # kind of an encoder that is no network here: its features were imported


def encoders(store: Store) -> list[Encoder]:
    """Return all encoders, oldest first."""
    with store.session() as session:
        return list(session.scalars(select(Encoder).order_by(Encoder.id)))


def encoders_with_weights(store: Store) -> list[Encoder]:
    """Return the encoders that can compute features, oldest first: all but imported vectors."""
    return [row for row in encoders(store) if row.kind != VECTORS]


def find_encoder(store: Store, name: str) -> Encoder | None:
    """Return the encoder of this name, or None."""
    with store.session() as session:
        return session.scalar(select(Encoder).where(Encoder.name == name))


def encoder_named(store: Store, name: str) -> Encoder:
    """Return the encoder of this name. Raises StoreError that lists the known encoders if there is none."""
    found = find_encoder(store, name)
    if found is None:
        known = ", ".join(e.name for e in encoders(store))
        hint = f"Known encoders: {known}." if known else "Add one with `orl encoders add starter --name starter`."
        raise StoreError(f"There is no encoder '{name}'. {hint}")
    return found


def encoder_by_id(store: Store, encoder_id: int) -> Encoder:
    """Return the encoder of this id. Raises StoreError if there is none."""
    with store.session() as session:
        found = session.get(Encoder, encoder_id)
        if found is None:
            raise StoreError(f"There is no encoder {encoder_id}. See `orl encoders`.")
        return found


def add_encoder(store: Store, encoder: Encoder) -> Encoder:
    """Add an encoder, or return the one with the same name and weights. Raises StoreError if the name is taken.

    A row of the same weights that only a set brought along, without a network, becomes this encoder.
    """
    with store.session() as session:
        taken = session.scalar(select(Encoder).where(Encoder.name == encoder.name))
        waiting = select(Encoder).where(Encoder.weights_sha256 == encoder.weights_sha256, Encoder.kind == VECTORS)
        found = None if encoder.kind == VECTORS else session.scalar(waiting)
        if found is not None and (taken is None or taken.id == found.id):
            for column in ("name", "kind", "weights_path", "source", "supervised", "reading", "run_id"):
                setattr(found, column, getattr(encoder, column))
            return found
        if taken is not None:
            if taken.weights_sha256 == encoder.weights_sha256:
                return taken
            raise StoreError(f"The encoder '{encoder.name}' already exists. Choose another name.")
        session.add(encoder)
        session.flush()
        return encoder

"""Objectness of candidates"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Null where a set does not ask for it.
    op.add_column("candidate", sa.Column("objectness", sa.Float(), nullable=True))

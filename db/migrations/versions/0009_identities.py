"""Which store this is, and a digest of each photo's file"""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    table = op.create_table(
        "store_identity",
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name="pk_store_identity"),
    )
    created_at = datetime.now(UTC).replace(tzinfo=None)
    op.bulk_insert(table, [{"identity": uuid4().hex, "created_at": created_at}])
    op.add_column("image", sa.Column("digest", sa.BigInteger(), nullable=True))  # read from the files when needed

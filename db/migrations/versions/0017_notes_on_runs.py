"""Notes and tags on runs"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("run", sa.Column("note", sa.String(), nullable=False, server_default=""))
    op.add_column("run", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))

"""Quality of pairs and sets"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Null where the set was mined before anybody measured them.
    op.add_column("pair", sa.Column("margin", sa.Float(), nullable=True))
    op.add_column("pair", sa.Column("cycle", sa.Boolean(), nullable=True))
    op.add_column("correspondence_set", sa.Column("quality", sa.JSON(), nullable=True))

"""Runs whose process is gone are called crashed"""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("UPDATE run SET status = 'crashed' WHERE status = 'lost'")

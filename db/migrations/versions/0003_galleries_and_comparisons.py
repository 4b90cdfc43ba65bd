"""What the gallery keeps in memory by, categories, and comparisons of sets"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("categories", sa.JSON(), nullable=True))
    op.add_column("dataset", sa.Column("revision", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_annotation_category", "annotation", ["category", "image_id"])
    _count_categories()
    op.create_table(
        "set_comparison",
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id"],
            ["correspondence_set.id"],
            name="fk_set_comparison_first_id_correspondence_set",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["second_id"],
            ["correspondence_set.id"],
            name="fk_set_comparison_second_id_correspondence_set",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("first_id", "second_id", name="pk_set_comparison"),
    )
    op.create_table(
        "image_comparison",
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("neighbors", sa.Float(), nullable=False),
        sa.Column("rois", sa.Float(), nullable=False),
        sa.Column("pairs", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id", "second_id"],
            ["set_comparison.first_id", "set_comparison.second_id"],
            name="fk_image_comparison_first_id_set_comparison",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_image_comparison_image_id_image"),
        sa.PrimaryKeyConstraint("first_id", "second_id", "image_id", name="pk_image_comparison"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_image_comparison_pairs", "image_comparison", ["first_id", "second_id", "pairs", "image_id"])


def _count_categories() -> None:
    """Datasets of an older store get what ingest counts from now on."""
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(
            "SELECT image.dataset_id, annotation.category, COUNT(DISTINCT annotation.image_id) FROM annotation "
            "JOIN image ON image.id = annotation.image_id WHERE image.superseded_by IS NULL "
            "GROUP BY image.dataset_id, annotation.category ORDER BY 1, 2"
        )
    )
    found: dict[int, dict[str, int]] = {}
    for dataset, category, images in rows:
        found.setdefault(dataset, {})[category] = images
    dataset = sa.table("dataset", sa.column("id", sa.Integer), sa.column("categories", sa.JSON))
    for dataset_id, categories in found.items():
        connection.execute(sa.update(dataset).where(dataset.c.id == dataset_id).values(categories=categories))

"""The schema of a library as numbered steps, one module per step. A step that was released is never changed."""

from fdvs.store.schema.m001_initial import M001_INITIAL
from fdvs.store.schema.m002_layouts import M002_LAYOUTS
from fdvs.store.schema.m003_languages import M003_LANGUAGES
from fdvs.store.schema.m004_shot_signs import M004_SHOT_SIGNS
from fdvs.store.schema.m005_readings import M005_READINGS
from fdvs.store.schema.m006_replies import M006_REPLIES
from fdvs.store.schema.m007_costs import M007_COSTS
from fdvs.store.schema.migration import Migration

MIGRATIONS: tuple[Migration, ...] = (
    M001_INITIAL,
    M002_LAYOUTS,
    M003_LANGUAGES,
    M004_SHOT_SIGNS,
    M005_READINGS,
    M006_REPLIES,
    M007_COSTS,
)

__all__ = ["MIGRATIONS", "Migration"]

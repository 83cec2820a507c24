"""The llm app's rows for the operator, to look at."""

from accounts import raw_rows
from llm.models import CatalogSnapshot

raw_rows.register([CatalogSnapshot])

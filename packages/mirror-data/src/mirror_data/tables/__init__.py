"""Tables from other people: text (plain, gzip, zip) and Parquet, read with care and never trusted."""

from mirror_data.tables.bytes import check_file
from mirror_data.tables.names import plain_name, words
from mirror_data.tables.open import MISSING, Table, file_digest, open_table, read_column, read_strings

__all__ = [
    "MISSING",
    "Table",
    "check_file",
    "file_digest",
    "open_table",
    "plain_name",
    "read_column",
    "read_strings",
    "words",
]

"""Folds to choose settings by: the validation parts of a split become test parts, its test patients are left out.

    python recipes/validation_folds.py COHORT.zarr [FROM [NAME]]          [published [choose]]

What is chosen on the new split has never seen a test patient of the old one.
"""

from __future__ import annotations

import sys

from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Fold, Split, open_store, read_split, schema, write_split


def validation_folds(split: Split, name: str) -> Split:
    """Every fold with its training part as it was and its validation part to be tested on.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` where a fold has no validation part.
    """
    if bare := [k for k, fold in enumerate(split.folds) if not fold.validation]:
        message = "a fold has no validation part to choose by"
        raise BadInput("NOT_ESTIMABLE", message, key=schema.split(split.name), got=f"fold {bare[0]}")
    folds = tuple(Fold(train=fold.train, validation=(), test=fold.validation) for fold in split.folds)
    return Split(name, folds, {"how": "validation parts", "of": split.name}, split.seed)


def main() -> None:
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    url, source, name = (*sys.argv[1:], *("published", "choose")[len(sys.argv) - 2 :])
    try:
        store = open_store(url)
        parent = schema.split(source)
        split = validation_folds(read_split(store, source), name)
        write_split(store, split, parents={parent: store.hash(parent)})
    except (BadInput, StoreError) as error:
        sys.exit(str(error))
    print(f"{name}: {len(split.folds)} folds of {source}, tested on {sum(len(f.test) for f in split.folds)} patients")


if __name__ == "__main__":
    main()

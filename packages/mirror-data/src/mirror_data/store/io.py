"""Write and read each record: ``write_x(store, x, parents=...)`` returns its hash, ``read_x(store, ...)`` the record.

Every write follows the commit rule of `mirror_data.store.commit`; every read verifies what it returns.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd

from mirror_data.errors import StoreError
from mirror_data.store import commit as rule
from mirror_data.store import schema
from mirror_data.store.bags import bag_tree, read_bag
from mirror_data.store.files import Files, open_files
from mirror_data.store.records import (
    Attention,
    Embeddings,
    Expression,
    Features,
    Fold,
    GeneSelection,
    Modality,
    Patients,
    Predictions,
    Run,
    Slide,
    Split,
    Tiling,
)

Parents = Mapping[str, str]


class Store:
    """One cohort. Make it with `create_store` or `open_store`."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.url = files.url

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def document(self, path: str) -> rule.Document:
        """The verified document of the record at ``path``."""
        return rule.read_document(self.files, path)

    def has(self, path: str) -> bool:
        """Whether a committed record stands at ``path``."""
        return self.files.exists(f"{path}/{rule.DOCUMENT}")

    def hash(self, path: str) -> str:
        """Identity of a record, or of every record that matches a pattern with one ``*`` (see `schema.all_features`)."""
        if "*" not in path:
            return self.document(path).hash
        head, tail = path.split("*")
        found = [p for name in self.files.children(head.rstrip("/")) if self.has(p := f"{head}{name}{tail}")]
        return rule.joint_hash({p: self.document(p).hash for p in found})

    def parents(self, *paths: str) -> dict[str, str]:
        """Path and hash of what a new record is derived from."""
        return {path: self.hash(path) for path in paths}

    def keys(self, container: str) -> list[str]:
        """Keys of the committed records in a container ("slides", "splits", ...), sorted."""
        return [name for name in self.files.children(container) if self.has(f"{container}/{name}")]

    def claim(self, item: str) -> AbstractContextManager[None]:
        """Hold the work on ``item`` against other processes; raises `Busy`. Not the path of a record: name the work."""
        return self.files.claim(f"work/{item}")

    def delete(self, path: str) -> None:
        """Remove a record and all below it; its document goes first, so that it is never seen half."""
        self.files.delete(f"{path}/{rule.DOCUMENT}")
        self.files.delete(path)


def create_store(url: str | os.PathLike) -> Store:
    """Open the store at ``url``, making an empty one if there is none."""
    files = open_files(url)
    if not files.exists(rule.DOCUMENT):
        try:
            files.create(rule.DOCUMENT, rule.root_document())
        except FileExistsError:
            pass  # another process made it a moment ago
    return open_store(url)


def open_store(url: str | os.PathLike) -> Store:
    """Open an existing store.

    Raises:
        StoreError: ``NOT_A_STORE``, ``CORRUPT_STORE`` or ``NEWER_FORMAT``.
    """
    import json

    files = open_files(url)
    try:
        raw = files.read(rule.DOCUMENT)
    except KeyError:
        raise StoreError(
            "NOT_A_STORE",
            "there is no cohort store here",
            file=files.url,
            hint="make one with `mirror-data tile`, `expression`, `outcomes` or `import`, or check the path",
        ) from None
    try:
        marks = json.loads(raw)["attributes"]["mirror"]
        version = int(marks["format"])
        is_cohort = marks["kind"] == "cohort"
    except (ValueError, KeyError, TypeError):
        raise rule.corrupt(files, rule.DOCUMENT, "the store's own document cannot be read") from None
    if version > schema.FORMAT_VERSION:
        raise rule.newer_format(files, rule.DOCUMENT, version)
    if not is_cohort or raw != rule.root_document():
        raise rule.corrupt(files, rule.DOCUMENT, "the store's own document was altered")
    return Store(files)


def _write(
    store: Store,
    path: str,
    kind: str,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    bags: Mapping[str, np.ndarray] | None = None,
    elements: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    parents: Parents | None = None,
    overwrite: bool = False,
) -> str:
    """Commit plain arrays, bags (one uncompressed shard each) and AnnData elements as one record."""
    arrays, bags, elements = arrays or {}, bags or {}, elements or {}

    def fill(group: Any) -> None:
        for name, values in arrays.items():
            group.create_array(name, data=np.ascontiguousarray(values))
        if elements:
            for name, element in elements.items():
                _write_element(group, name, element)

    tree, made = rule.build_tree(fill)
    for name, values in bags.items():
        tree |= bag_tree(name, values)
    digests = {name: rule.array_digest(values) for name, values in {**arrays, **bags}.items()}
    return rule.commit(
        store.files,
        path,
        kind,
        tree,
        arrays=digests,
        attributes={**made, **(attributes or {})},
        parents=parents or {},
        overwrite=overwrite,
    )


def _write_element(group: Any, name: str, element: Any) -> None:
    """Write an AnnData element with plain chunks, whatever the installed anndata would choose by itself."""
    import anndata
    from anndata.io import write_elem

    with anndata.settings.override(auto_shard_zarr_v3=False):
        write_elem(group, name, element)


def _open(store: Store, path: str, kind: str) -> tuple[rule.Document, Any]:
    """Document and verified in-memory group of a record of the expected kind."""
    document = store.document(path)
    if document.kind != kind:
        raise rule.corrupt(store.files, path, f"expected a record of kind {kind}, found {document.kind}")
    return document, rule.read_tree(store.files, document)


def _array(store: Store, document: rule.Document, group: Any, name: str) -> np.ndarray:
    values = np.asarray(group[name][...])
    if list(values.shape) != document.arrays[name]["shape"]:
        raise rule.corrupt(store.files, f"{document.path}/{name}", "the array's shape differs from the commit document")
    return values


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """A table as the AnnData format spells it, so that what is read equals what was written.

    Object and string columns become plain objects with None for missing; the index is a string.
    """
    plain = table.copy()
    plain.index = pd.Index([str(i) for i in table.index], name=table.index.name, dtype=object)
    for name in plain.columns:
        if not (pd.api.types.is_numeric_dtype(plain[name]) or pd.api.types.is_bool_dtype(plain[name])):
            text = [None if pd.isna(v) else str(v) for v in plain[name]]
            plain[name] = pd.Categorical(text, categories=sorted({t for t in text if t is not None}))
    return plain


def _unplain(table: pd.DataFrame) -> pd.DataFrame:
    plain = table.copy()
    plain.index = pd.Index([str(i) for i in table.index], name=table.index.name, dtype=object)
    for name in plain.columns:
        if not (pd.api.types.is_numeric_dtype(plain[name]) or pd.api.types.is_bool_dtype(plain[name])):
            values = [None if pd.isna(v) else str(v) for v in plain[name]]
            plain[name] = pd.Series(values, index=plain.index, dtype=object)
    return plain


def _text(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


# Slides -------------------------------------------------------------------------------------------------------------


def write_slide(store: Store, slide: Slide, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    """Commit a slide; with ``overwrite`` also drops the tilings and features below it."""
    arrays = {name: a for name in ("tissue", "thumbnail") if (a := getattr(slide, name)) is not None}
    attributes = {
        "slide_id": slide.slide_id,
        "patient_id": slide.patient_id,
        "size": list(slide.size) if slide.size else None,
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "reader": slide.reader,
        "source": dict(slide.source),
        "tissue_mpp": slide.tissue_mpp,
        "tissue_parameters": dict(slide.tissue_parameters),
    }
    path = schema.slide(slide.slide_id)
    return _write(store, path, "slide", arrays=arrays, attributes=attributes, parents=parents, overwrite=overwrite)


def read_slide(store: Store, slide_id: str) -> Slide:
    """A slide with its mask. ``slide_id`` may be the id or its key."""
    document, group = _open(store, schema.slide(slide_id), "slide")
    fields = dict(document.attributes)
    fields["size"] = tuple(fields["size"]) if fields["size"] else None
    arrays = {name: _array(store, document, group, name) for name in document.arrays}
    return Slide(**fields, **arrays)


def write_tiling(store: Store, tiling: Tiling, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    names = ("slide_id", "name", "rows", "tile_px", "mpp", "tile_px_level0", "overlap", "min_tissue", "read_level")
    attributes = {name: getattr(tiling, name) for name in names} | {"parameters": dict(tiling.parameters)}
    arrays = {} if tiling.coords is None else {"coords": tiling.coords}
    path = schema.tiling(tiling.slide_id, tiling.name)
    parents = parents if parents is not None else store.parents(schema.slide(tiling.slide_id))
    return _write(store, path, "tiling", arrays=arrays, attributes=attributes, parents=parents, overwrite=overwrite)


def read_tiling(store: Store, slide_id: str, name: str) -> Tiling:
    document, group = _open(store, schema.tiling(slide_id, name), "tiling")
    coords = _array(store, document, group, "coords") if "coords" in document.arrays else None
    return Tiling(**document.attributes, coords=coords)


def write_features(store: Store, features: Features, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    attributes = {
        "slide_id": features.slide_id,
        "tiling": features.tiling,
        "encoder": features.encoder,
        "rows": len(features.values),
        "width": features.values.shape[1],
        "weights_sha256": features.weights_sha256,
        "transform": dict(features.transform),
        "precision": features.precision,
    }
    path = schema.features(features.slide_id, features.tiling, features.encoder)
    parents = parents if parents is not None else store.parents(schema.tiling(features.slide_id, features.tiling))
    bags = {"features": features.values}
    return _write(store, path, "features", bags=bags, attributes=attributes, parents=parents, overwrite=overwrite)


def read_features(store: Store, slide_id: str, tiling: str, encoder: str) -> Features:
    """One bag, checked chunk by chunk. Measured: 5.5 ms for 10,000 x 768 (see benchmarks/bags.py)."""
    document = store.document(schema.features(slide_id, tiling, encoder))
    fields = {k: v for k, v in document.attributes.items() if k not in ("rows", "width")}
    return Features(**fields, values=read_bag(store.files, document, "features"))


# Tables -------------------------------------------------------------------------------------------------------------


def write_expression(
    store: Store, expression: Expression, *, parents: Parents | None = None, overwrite: bool = False
) -> str:
    """Commit the expression as an AnnData element, so that ``anndata.read_zarr(cohort.zarr/rna)`` opens it."""
    import anndata

    obs = pd.DataFrame({"sample_id": list(expression.sample_ids)}, index=list(expression.patient_ids))
    obs.index.name = "patient_id"
    var = pd.DataFrame({"symbol": list(expression.symbols)}, index=list(expression.gene_ids))
    var.index.name = "gene_id"
    matrix = anndata.AnnData(X=expression.values, obs=obs.astype(object), var=var.astype(object))
    attributes = {"unit": expression.unit, "transform": dict(expression.transform), "rows": len(obs)}

    def fill(group: Any) -> None:
        _write_element(group, "/", matrix)

    tree, made = rule.build_tree(fill)
    return rule.commit(
        store.files,
        schema.RNA,
        "expression",
        tree,
        arrays={"X": rule.array_digest(expression.values)},
        attributes={**made, **attributes},
        parents=parents or {},
        overwrite=overwrite,
    )


def read_expression(store: Store) -> Expression:
    from anndata.io import read_elem

    document, group = _open(store, schema.RNA, "expression")
    obs, var = read_elem(group["obs"]), read_elem(group["var"])
    return Expression(
        patient_ids=tuple(map(str, obs.index)),
        sample_ids=tuple(map(str, obs["sample_id"])),
        gene_ids=tuple(map(str, var.index)),
        symbols=tuple(map(str, var["symbol"])),
        values=_array(store, document, group, "X"),
        unit=document.attributes["unit"],
        transform=document.attributes["transform"],
    )


def write_patients(store: Store, patients: Patients, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    return _write(
        store,
        schema.PATIENTS,
        "patients",
        elements={"table": _plain(patients.table)},
        attributes={"rows": len(patients.table), "provenance": dict(patients.provenance)},
        parents=parents,
        overwrite=overwrite,
    )


def read_patients(store: Store) -> Patients:
    from anndata.io import read_elem

    document, group = _open(store, schema.PATIENTS, "patients")
    table = _unplain(read_elem(group["table"]))
    table.index.name = "patient_id"
    return Patients(table, document.attributes["provenance"])


def write_split(store: Store, split: Split, *, parents: Parents | None = None, overwrite: bool = False) -> str:
    rows = [(k, part, patient) for k, fold in enumerate(split.folds) for patient, part in fold.part_of().items()]
    table = pd.DataFrame(rows, columns=["fold", "part", "patient_id"])
    attributes = {
        "name": split.name,
        "rows": len(table),
        "folds": len(split.folds),
        "drawn": dict(split.drawn),
        "seed": split.seed,
    }
    elements = {"table": _plain(table)}
    path = schema.split(split.name)
    return _write(store, path, "split", elements=elements, attributes=attributes, parents=parents, overwrite=overwrite)


def read_split(store: Store, name: str) -> Split:
    from anndata.io import read_elem

    document, group = _open(store, schema.split(name), "split")
    table = _unplain(read_elem(group["table"]))
    folds = []
    for k in range(document.attributes["folds"]):
        rows = table[table["fold"] == k]
        folds.append(
            Fold(*(tuple(sorted(rows["patient_id"][rows["part"] == p])) for p in ("train", "validation", "test")))
        )
    attributes = document.attributes
    return Split(attributes["name"], tuple(folds), attributes["drawn"], attributes["seed"])


def write_genes(store: Store, genes: GeneSelection, *, parents: Parents, overwrite: bool = False) -> str:
    arrays = {"ranking": genes.ranking, "cancer": genes.cancer}
    if genes.stability is not None:
        arrays["stability"] = genes.stability
    kept = set(genes.kept)
    arrays["kept"] = np.array([g in kept for g in genes.gene_ids], dtype=np.uint8)
    elements = {
        "gene_ids": _text(genes.gene_ids),
        "fitted_on": _text(genes.fitted_on),
        "curve": _plain(genes.curve),
    }
    attributes = {
        "name": genes.name,
        "fold": genes.fold,
        "rows": len(genes.kept),
        "parameters": dict(genes.parameters),
    }
    path = schema.genes(genes.name, genes.fold)
    return _write(
        store,
        path,
        "genes",
        arrays=arrays,
        elements=elements,
        attributes=attributes,
        parents=parents,
        overwrite=overwrite,
    )


def read_genes(store: Store, name: str, fold: int) -> GeneSelection:
    from anndata.io import read_elem

    document, group = _open(store, schema.genes(name, fold), "genes")
    gene_ids = tuple(map(str, read_elem(group["gene_ids"])))
    arrays = {key: _array(store, document, group, key) for key in document.arrays}
    curve = read_elem(group["curve"])
    curve.index = pd.RangeIndex(len(curve))
    return GeneSelection(
        name=document.attributes["name"],
        fold=document.attributes["fold"],
        kept=tuple(sorted(g for g, k in zip(gene_ids, arrays["kept"], strict=True) if k)),
        gene_ids=gene_ids,
        ranking=arrays["ranking"],
        cancer=arrays["cancer"],
        stability=arrays.get("stability"),
        curve=curve,
        fitted_on=tuple(map(str, read_elem(group["fitted_on"]))),
        parameters=document.attributes["parameters"],
    )


# Runs ---------------------------------------------------------------------------------------------------------------


def write_run(store: Store, run: Run, *, parents: Parents, overwrite: bool = False) -> str:
    """Commit a trained fold; with ``overwrite`` also drops the embeddings, predictions and attention below it."""
    names = ("name", "fold", "method", "split", "checkpoint_sha256")
    attributes = {name: getattr(run, name) for name in names}
    attributes |= {name: dict(getattr(run, name)) for name in ("config", "metrics", "versions")}
    path = schema.run(run.name, run.fold)
    return _write(store, path, "run", attributes=attributes, parents=parents, overwrite=overwrite)


def read_run(store: Store, name: str, fold: int) -> Run:
    document, _ = _open(store, schema.run(name, fold), "run")
    return Run(**document.attributes)


def run_folds(store: Store, name: str) -> list[int]:
    """The committed folds of a run, in order."""
    from mirror_data.ids import to_key

    return sorted(int(key.removeprefix("fold_")) for key in store.keys(f"runs/{to_key(name)}"))


def write_embeddings(store: Store, embeddings: Embeddings, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.embeddings(embeddings.run, embeddings.fold, embeddings.modality)
    attributes = {
        "run": embeddings.run,
        "fold": embeddings.fold,
        "modality": embeddings.modality,
        "rows": len(embeddings.patient_ids),
    }
    return _write(
        store,
        path,
        "embeddings",
        arrays={"values": embeddings.values},
        elements={"patient_ids": _text(embeddings.patient_ids)},
        attributes=attributes,
        parents=parents,
        overwrite=overwrite,
    )


def read_embeddings(store: Store, run: str, fold: int, modality: Modality) -> Embeddings:
    from anndata.io import read_elem

    document, group = _open(store, schema.embeddings(run, fold, modality), "embeddings")
    ids = tuple(map(str, read_elem(group["patient_ids"])))
    fields = {k: v for k, v in document.attributes.items() if k != "rows"}
    return Embeddings(**fields, patient_ids=ids, values=_array(store, document, group, "values"))


def write_predictions(store: Store, predictions: Predictions, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.predictions(predictions.run, predictions.fold, predictions.task)
    attributes = {
        "run": predictions.run,
        "fold": predictions.fold,
        "task": predictions.task,
        "rows": len(predictions.table),
    }
    elements = {"table": _plain(predictions.table)}
    return _write(
        store, path, "predictions", elements=elements, attributes=attributes, parents=parents, overwrite=overwrite
    )


def read_predictions(store: Store, run: str, fold: int, task: str) -> Predictions:
    from anndata.io import read_elem

    document, group = _open(store, schema.predictions(run, fold, task), "predictions")
    table = _unplain(read_elem(group["table"]))
    table.index = pd.RangeIndex(len(table))
    return Predictions(**{k: v for k, v in document.attributes.items() if k != "rows"}, table=table)


def write_attention(store: Store, attention: Attention, *, parents: Parents, overwrite: bool = False) -> str:
    path = schema.attention(attention.run, attention.fold, attention.slide_id)
    attributes = {
        "run": attention.run,
        "fold": attention.fold,
        "slide_id": attention.slide_id,
        "tiling": attention.tiling,
        "rows": len(attention.weights),
    }
    arrays = {"weights": attention.weights}
    return _write(store, path, "attention", arrays=arrays, attributes=attributes, parents=parents, overwrite=overwrite)


def read_attention(store: Store, run: str, fold: int, slide_id: str) -> Attention:
    document, group = _open(store, schema.attention(run, fold, slide_id), "attention")
    fields = {k: v for k, v in document.attributes.items() if k != "rows"}
    return Attention(**fields, weights=_array(store, document, group, "weights"))

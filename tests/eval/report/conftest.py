"""One full store and its report for every test of the page; UMAP has a test of its own, its compiler is slow."""

from __future__ import annotations

import pytest
from mirror_data.store import Store, create_store
from mirror_eval.report.build import Report, lay_out
from mirror_eval.report.evidence import Evidence
from mirror_eval.report.gather import gather

from tests.eval.report.filled_store import RUN, add_predictions, add_run, fill


@pytest.fixture(scope="session")
def full_store(tmp_path_factory) -> Store:
    store = create_store(tmp_path_factory.mktemp("full") / "cohort.zarr")
    fill(store, with_slides=True)
    add_run(store, "untrained")
    add_predictions(store, "told")
    return store


@pytest.fixture(scope="session")
def full_evidence(full_store) -> Evidence:
    return gather(full_store, RUN, compare=("told",), seed=0, resamples=50)


@pytest.fixture(scope="session")
def full_report(full_evidence) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        _flatten(patch)
        return lay_out(full_evidence, seed=0, paper="brca")


@pytest.fixture
def flat_umap(monkeypatch) -> None:
    """The first two dimensions for UMAP's."""
    _flatten(monkeypatch)


def _flatten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mirror_eval.report.sections.embeddings.project", lambda values, seed: values[:, :2])

"""Real TCGA patients: the linear floors of the shared data, by our own probe and concordance, with their settings.

Marked long: reading 1,556 genes of 1,000 patients takes longer than everything else here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mirror_eval.classification import accuracy, auroc, macro_f1
from mirror_eval.concordance import harrell_c
from mirror_eval.cox import fit_cox
from mirror_eval.probe import fit_logistic
from mirror_eval.ridge import Rotation, Scaler

pytestmark = pytest.mark.long
CLASSES = {"brca": ("IDC", "ILC"), "nsclc": ("LUAD", "LUSC")}
FLOORS = {  # AUROC, accuracy, macro F1, Harrell's C (of an untold penalty), as the shared data's README has them
    ("brca", "slide"): (0.900, 0.892, 0.759, 0.612),
    ("brca", "rna"): (0.897, 0.877, 0.719, 0.590),
    ("brca", "both"): (0.919, 0.889, 0.756, 0.616),
    ("nsclc", "slide"): (0.934, 0.866, 0.866, 0.614),
    ("nsclc", "rna"): (0.986, 0.950, 0.950, 0.576),
    ("nsclc", "both"): (0.993, 0.968, 0.968, 0.632),
}
STRENGTH = {"slide": 100.0, "rna": 1000.0, "both": 1000.0}  # 1 / C of the floors' logistic regression


def patients(data: Path, cohort: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Clinical rows of the patients with both modalities, mean region (n, 192), clipped z-scores (n, g)."""
    bags = np.load(data / f"tcga/region_bags_{'brca' if cohort == 'brca' else 'lung'}.npz", allow_pickle=False)
    owner = np.repeat([str(name)[:12] for name in bags["slide_ids"]], np.diff(bags["offsets"]))
    regions = pd.DataFrame(bags["feats"].astype(np.float32)).groupby(owner).mean()
    files = ["brca"] if cohort == "brca" else ["luad", "lusc"]
    tables = [pd.read_csv(data / f"tcga/clinical_rna_{name}.csv.zip", low_memory=False) for name in files]
    clinical = pd.concat(tables, join="inner").drop_duplicates("case_id").set_index("case_id")
    genes = clinical.filter(like="_rnaseq")
    kept = genes.index[genes.notna().all(axis=1) & genes.index.isin(regions.index)]
    return clinical.loc[kept], regions.loc[kept].to_numpy(float), np.clip(genes.loc[kept].to_numpy(float), -10, 10)


@pytest.mark.parametrize("cohort", ["brca", "nsclc"])
def test_floors_are_reproduced(shared: Path, cohort: str):
    clinical, slide, rna = patients(shared / "data", cohort)
    code = clinical["oncotree_code"].map({name: k for k, name in enumerate(CLASSES[cohort])}).fillna(-1).to_numpy(int)
    time, event = clinical["survival_months"].to_numpy(), clinical["censorship"].to_numpy() == 0
    found: dict[str, list[tuple[float, ...]]] = {"slide": [], "rna": [], "both": []}
    for k in range(5):
        ids = pd.read_csv(shared / f"data/splits/tcga_{cohort}/splits_{k}.csv")
        train, test = clinical.index.isin(ids["train"].dropna()), clinical.index.isin(ids["val"].dropna())
        assert not (train & test).any()
        slides, genes = Scaler.fit(slide[train]).apply(slide), Scaler.fit(rna[train]).apply(rna)
        components = genes @ Rotation.fit(genes[train]).axes[:, :100]
        views = {
            "slide": (slides, slides),
            "rna": (genes, components),
            "both": (np.hstack([slides, genes]), np.hstack([slides, components])),
        }
        for row, (features, survival_features) in views.items():
            fitted, tested = train & (code >= 0), test & (code >= 0)
            # two classes: twice the strength of binary logistic regression
            chance = fit_logistic(features[fitted], code[fitted], 2, 2 * STRENGTH[row]).probability(features[tested])
            label, guess = code[tested], chance.argmax(1)
            cox = fit_cox(survival_features[train], time[train], event[train], 1000.0)
            concordance = harrell_c(time[test], event[test], cox.risk(survival_features[test])).c
            area = float(auroc(label == 1, chance[:, 1]))
            found[row].append((area, float(accuracy(label, guess)), float(macro_f1(label, guess, 2)), concordance))
    for row, values in found.items():
        mean = np.mean(values, axis=0)
        np.testing.assert_allclose(mean[:3], FLOORS[cohort, row][:3], atol=0.002)
        assert mean[3] == pytest.approx(FLOORS[cohort, row][3], abs=0.02)

from __future__ import annotations

import json

import numpy as np
import openslide
import pandas as pd
import pytest
from mirror_data.cohort.demo import DemoCohort, write_demo
from mirror_data.cohort.demo_slides import Look, write_slide_file
from mirror_data.cohort.demo_tables import expression_table, gzipped_tsv, make_plan
from mirror_data.cohort.demo_tissue import make_sheets
from mirror_data.errors import BadInput

PATIENTS = 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> DemoCohort:
    return write_demo(tmp_path_factory.mktemp("demo") / "cohort", PATIENTS, seed=3)


@pytest.fixture(scope="module")
def truth(demo) -> dict:
    return json.loads(demo.truth.read_text())


def test_every_file_is_there_and_explained(demo):
    names = sorted(path.name for path in demo.directory.iterdir())
    assert names == ["README.txt", "cancer_genes.csv", "clinical.csv", "expression.tsv.gz", "slides", "truth.json"]
    readme = demo.readme.read_text()
    assert all(name in readme for name in names[1:])
    assert len(list(demo.slides.iterdir())) == demo.slide_count == PATIENTS - 1
    assert (demo.patients, demo.expression_count, demo.outcome_count) == (PATIENTS, PATIENTS - 1, PATIENTS - 1)


def test_openslide_reads_pyramids_with_resolution(demo):
    for path in sorted(demo.slides.iterdir())[:3]:
        with openslide.OpenSlide(path) as slide:
            assert slide.properties["openslide.vendor"] == "aperio"
            assert float(slide.properties["openslide.mpp-x"]) == float(slide.properties["openslide.mpp-y"]) == 0.5
            assert slide.properties["openslide.objective-power"] == "20"
            assert slide.properties["tiff.ImageDescription"].startswith("Aperio")
            assert [round(d) for d in slide.level_downsamples] == [1, 4, 16]
            assert all(2048 <= side <= 2432 for side in slide.dimensions)
            assert not slide.associated_images
            for level, size in enumerate(slide.level_dimensions):
                pixels = np.asarray(slide.read_region((0, 0), level, size))
                for border in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
                    # glass, without ringing against the filled-up tiles; 1/16 is so small that tissue is near
                    assert border.min() > (240, 240, 190)[level]


def test_tables_are_what_the_commands_read(demo, truth):
    expression = pd.read_csv(demo.expression, sep="\t", index_col=0)
    clinical = pd.read_csv(demo.clinical, index_col="patient_id")
    assert expression.shape == (500, PATIENTS - 1)
    assert expression.index.name == "sample"
    assert expression.index.is_unique
    assert expression.to_numpy().min() == pytest.approx(np.log2(0.001), abs=1e-3)
    assert list(clinical) == ["subtype", "time_days", "event", "age", "site"]
    assert clinical["subtype"].value_counts().to_dict() == {"cords": 8, "glandular": 8}
    missing = truth["missing"]
    assert set(clinical.index) - set(expression.columns) == set(missing["no_rna"])
    assert set(clinical.index) - {path.stem for path in demo.slides.iterdir()} == set(missing["no_slide"])
    assert set(clinical.index[clinical["time_days"].isna()]) == set(missing["no_outcome"])
    assert set(clinical.index[clinical["event"].isna()]) == set(missing["no_outcome"])
    assert len({*missing["no_rna"], *missing["no_slide"], *missing["no_outcome"]}) == 3
    genes = pd.read_csv(demo.cancer_genes)["Gene Symbol"]
    assert {"TP53", "MKI67"} <= set(genes) <= set(expression.index)
    assert set(truth["private_to_rna"]["genes"]) <= set(genes)  # selection by subtype alone would lose the programme


def test_each_modality_holds_its_own_signals(demo, truth):
    patients = pd.DataFrame(truth["patients"]).T
    expression = pd.read_csv(demo.expression, sep="\t", index_col=0)
    known = patients.loc[expression.columns]
    cords = known["subtype"] == "cords"
    genes = truth["shared_by_both"]["in_rna"]["genes"]
    difference = expression.loc[genes, cords].mean(axis=1) - expression.loc[genes, ~cords].mean(axis=1)
    assert 1.2 < difference.abs().mean() < 1.8
    assert abs(difference.mean()) < 0.5  # up and down
    programme = expression.loc[truth["private_to_rna"]["genes"]].mean()
    assert np.corrcoef(programme, known["programme"].astype(float))[0, 1] > 0.95
    assert abs(np.corrcoef(programme, known["infiltrate"].astype(float))[0, 1]) < 0.3

    dark = {path.stem: _share_of_dark_nuclei(path) for path in demo.slides.iterdir()}
    seen = patients.loc[list(dark)].assign(dark=pd.Series(dark))
    for _, same in seen.groupby("subtype"):  # the architecture itself has nuclei too
        assert np.corrcoef(same["dark"], same["infiltrate"].astype(float))[0, 1] > 0.8


def _share_of_dark_nuclei(path) -> float:
    with openslide.OpenSlide(path) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[::2, ::2, :3].astype(int)
    tissue = pixels.max(2) - pixels.min(2) > 15
    return float((tissue & (pixels[..., 0] < 100)).sum() / tissue.sum())


def test_survival_follows_from_all_three_factors():
    plan = make_plan(400, seed=1)
    table = plan.patients
    assert 0.5 < table["event"].mean() < 0.85
    assert _concordance(table, table["log_hazard"]) > 0.8
    infiltrate = (table["infiltrate"] - 0.4) / 0.4
    factors = {
        "cords": (table["subtype"] == "cords") * 2 - 1,
        "programme": table["programme"],
        "infiltrate": -infiltrate,
    }
    for values in factors.values():
        assert 0.58 < _concordance(table, values) < 0.75
    assert np.abs(np.corrcoef(list(factors.values())) - np.eye(3)).max() < 0.1


def _concordance(table: pd.DataFrame, risk: pd.Series) -> float:
    time, event, value = (np.asarray(column, float) for column in (table["time_days"], table["event"], risk))
    earlier = (time[:, None] < time[None]) & (event[:, None] == 1)
    wins = (value[:, None] > value[None]) + 0.5 * (value[:, None] == value[None])
    return float(wins[earlier].mean())


def test_same_seed_same_bytes(demo, tmp_path):
    plan = make_plan(PATIENTS, seed=3)
    assert gzipped_tsv(expression_table(plan, seed=3)) == demo.expression.read_bytes()
    assert gzipped_tsv(expression_table(make_plan(PATIENTS, seed=4), seed=4)) != demo.expression.read_bytes()
    sheets = make_sheets(3)
    again = write_demo_slide(plan, sheets, demo, tmp_path)
    assert again.read_bytes() == (demo.slides / again.name).read_bytes()
    look = Look("cords", 0.3, 1.0, 1.0, 0.0)
    for seed in (0, 1):
        write_slide_file(tmp_path / str(seed), sheets, look, (3, seed))
    assert (tmp_path / "0").read_bytes() != (tmp_path / "1").read_bytes()


def write_demo_slide(plan, sheets, demo, folder):
    """The first slide of the cohort once more, from sheets woven anew."""
    from mirror_data.cohort.demo import look_of

    first = sorted(demo.slides.iterdir())[0].stem
    number = list(plan.patients.index).index(first)
    path = folder / f"{first}.svs"
    write_slide_file(path, sheets, look_of(plan, number, seed=3), (3, 5, number))
    return path


@pytest.mark.parametrize("arguments", [{"patients": 15}, {"patients": 1000}, {"seed": -1}])
def test_numbers_out_of_range(tmp_path, arguments):
    with pytest.raises(BadInput) as caught:
        write_demo(tmp_path / "new", **arguments)
    assert caught.value.code == "BAD_OPTION"
    assert not (tmp_path / "new").exists()


def test_says_what_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror_data.cohort.demo.find_spec", lambda name: None if name == "imagecodecs" else name)
    with pytest.raises(BadInput, match="imagecodecs") as caught:
        write_demo(tmp_path / "new")
    assert caught.value.code == "NOT_INSTALLED"
    assert not (tmp_path / "new").exists()


def test_command_refuses_a_folder_in_use(tmp_path, capsys):
    from mirror_data.cli.app import run
    from mirror_data.cli.main import cli

    (tmp_path / "mine.txt").write_text("precious")
    assert run(cli, ["demo", str(tmp_path)]) == 2
    assert "BAD_OPTION" in capsys.readouterr().err
    assert run(cli, ["demo", str(tmp_path / "mine.txt")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_command_tells_where_things_are(tmp_path, capsys, monkeypatch):
    from mirror_data.cli.app import run
    from mirror_data.cli.main import cli

    monkeypatch.setattr("mirror_data.cohort.demo._write_slides", lambda *_: None)  # the slides are tested above
    (tmp_path / "mine.txt").write_text("precious")
    arguments = ["demo", str(tmp_path), "--patients", "20", "--seed", "5", "--overwrite", "--json"]
    assert run(cli, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["patients"], told["slide_count"], told["expression_count"]) == (20, 19, 19)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert run(cli, [*arguments[:-1]]) == 0
    assert "19 samples" in capsys.readouterr().out

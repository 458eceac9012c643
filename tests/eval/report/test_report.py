"""The page as a file: what it says, that it is well formed, and that nothing in the data can change it."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from mirror_data.cli.app import run
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import (
    Store,
    create_store,
)
from mirror_eval.brier import brier_curve
from mirror_eval.cli.report import command
from mirror_eval.report.blocks import Absent
from mirror_eval.report.build import Report, build_report, lay_out, write_report
from mirror_eval.report.evaluations import DEALS, runs_beside
from mirror_eval.report.evidence import Missing
from mirror_eval.report.sections.alignment import alignment
from mirror_eval.report.sections.controls import control_sentence
from mirror_eval.report.sections.controls import controls as null_controls
from mirror_eval.report.sections.embeddings import embeddings, project
from mirror_eval.report.sections.genes import genes
from mirror_eval.report.sections.scores import score_table
from mirror_eval.report.sections.subtyping import COLUMNS, subtyping
from mirror_eval.report.sections.survival import survival
from mirror_eval.report.sections.survival_calibration import horizon
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival

from tests.eval.report.filled_store import EVIL_ID, EVIL_SLIDE, RUN, add_predictions, add_run, fill

pytestmark = pytest.mark.timeout(900)  # the report of every test here is made within the first
VOID = {"meta", "link", "br", "img", "input", "hr"}
SECTIONS = (
    *("cohort", "subtyping", "survival", "comparison", "controls", "leakage", "embeddings", "alignment", "genes"),
    *("attention", "methods", "provenance"),
)


class Page(HTMLParser):
    """Elements in order, their attributes and text; complains about wrong nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open[-1] == tag, f"{tag} closes {self.open[-1]}"
        self.open.pop()

    def handle_data(self, data):
        for tag in self.open[-1:]:
            self.text[tag] = self.text.get(tag, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(full_report) -> Page:
    return Page(full_report.html)


def absent(report: Report) -> dict[str, str]:
    return dict(report.absent)


def test_every_section_is_there(full_report, page):
    assert full_report.sections == SECTIONS
    assert [one["id"] for one in page.all("section")] == list(SECTIONS)
    assert [one["href"] for one in page.all("a") if one.get("href", "").startswith("#")][1:] == [
        f"#{s}" for s in SECTIONS
    ]
    assert set(absent(full_report)) == {"Few-shot subtyping", "Few-shot survival", "The top tiles by themselves"}
    assert all(reason.endswith(".") and reason[0].isupper() for reason in absent(full_report).values())


def test_numbers_are_those_of_the_evaluation(full_store, full_report):
    subtype = evaluate_subtype(full_store, RUN, seed=0, resamples=50)
    survival = evaluate_survival(full_store, RUN, seed=0, resamples=50)
    values = {tile.label: tile.value for tile in full_report.summary.tiles}
    assert values["patients"] == "36"
    assert values["subtyping accuracy"] == f"{subtype.score('both', 'accuracy').mean:.2f}"
    assert values["C-index"] == f"{survival.score('both', 'c_harrell').mean:.2f}"
    told = dict(full_report.summary.sentences)
    assert "36 patients (18 type 0, 18 type 1), 34 of them with both slide and RNA" in told["Cohort"]
    assert f"slides only {subtype.score('slide', 'accuracy').mean:.3f}" in told["Subtyping"]
    assert "log-rank p" in told["Survival"]
    for modality in ("slide", "rna", "both"):
        score = survival.score(modality, "c_harrell")
        assert f"{score.mean:.3f} ± {score.sd:.3f}<small>{score.low:.3f} to {score.high:.3f}" in full_report.html


def test_cohort_counts_say_who_was_left_out(full_report):
    table = full_report.html.split('id="left-out"')[1].split("</table>")[0]
    rows = re.findall(r"<th scope=\"row\">([^<]*)</th>\s*<td[^>]*>(\d+)</td>\s*<td[^>]*>(\d+)</td>", table)
    assert rows == [
        ("in the split", "36", "36"),
        ("left out: no label or outcome", "0", "1"),
        ("left out: no embedding at all", "0", "0"),
        ("left out: one modality only", "2", "2"),
        ("scored", "34", "33"),
    ]


def test_the_papers_rows_only_on_request(full_evidence, full_report):
    assert "0.955 ± 0.023" in full_report.html
    assert "for orientation only" in full_report.html
    assert subtyping(full_evidence, "brca").blocks[0].reference[1][1].text == "0.955 ± 0.023"
    assert subtyping(full_evidence, None).blocks[0].reference == ()
    assert "paper" not in subtyping(full_evidence, None).blocks[0].note


def blocks_of(section) -> dict:
    return {block.id: block for block in section.blocks if hasattr(block, "id")}


def test_other_runs_stand_beside_with_the_scores_of_their_own_evaluation(full_store, full_evidence):
    table = blocks_of(subtyping(full_evidence, None))["subtype-scores"]
    named = [(row[0].text, row[0].detail) for row in table.rows]
    rows = ("slides only", "RNA only", "slides + RNA")
    assert named == [
        *((row, "run first") for row in rows),
        ("stored predictions", "run told"),
        *((row, "run untrained") for row in rows),
    ]
    noise = evaluate_subtype(full_store, "untrained", seed=0, resamples=50).score("rna", "accuracy")
    assert table.rows[5][1].text == f"{noise.mean:.3f} ± {noise.sd:.3f}"
    assert noise.mean < 0.75 < table.rows[1][1].sort
    assert table.rows[3][1].text == "1.000 ± 0.000"  # what "told" foretells is true
    assert "Run told was tested on" in table.note
    assert "not the same exam" in table.note
    assert "the section Comparison tells" in table.note
    assert [line.split(",")[0] for line in table.csv.splitlines()[1:]] == (
        ["first"] * 15 + ["told"] * 5 + ["untrained"] * 15
    )
    recall = blocks_of(alignment(full_evidence))["retrieval-scores"]
    assert [(row[0].text, row[0].detail.split(" ")[-1]) for row in recall.rows] == [
        ("first", "vectors"),
        ("untrained", "embeddings"),
    ]
    assert recall.note == "Not shown, without embeddings of both modalities: told."


def test_a_run_alone_names_no_run(full_evidence):
    table = blocks_of(subtyping(replace(full_evidence, others=()), None))["subtype-scores"]
    assert [row[0].detail for row in table.rows] == ["", "", ""]
    assert "compare" not in table.note
    assert "retrieval-scores" not in blocks_of(alignment(replace(full_evidence, others=())))


def test_untrained_is_always_shown_and_shows_nothing_beside_itself(full_store):
    assert runs_beside(full_store, RUN, ("told", "told")) == ("told", "untrained")
    assert runs_beside(full_store, RUN, ("untrained",)) == ("untrained",)
    assert runs_beside(full_store, "untrained", ()) == ()


def test_null_controls_are_scored_and_come_out_about_chance(full_store, full_evidence):
    table = blocks_of(null_controls(full_evidence))["null-controls"]
    by_row = {(row[0].text, row[0].detail): row[1:] for row in table.rows}
    assert len(by_row) == 9
    own = full_evidence.subtype.score("both", "auroc")
    deals = [
        evaluate_subtype(full_store, RUN, control="shuffled", seed=k, resamples=0).score("both", "auroc").mean
        for k in range(DEALS)
    ]
    assert table.columns[3] == "AUROC"
    assert by_row["slides + RNA", "as it is"][2].sort == own.mean
    shuffled = by_row["slides + RNA", "shuffled outcomes"][2]
    assert shuffled.sort == pytest.approx(np.mean(deals))
    assert shuffled.detail == f"{min(deals):.3f} to {max(deals):.3f}"
    assert all(0.25 < by_row[row, "random features"][2].sort < 0.75 for row in ("slides only", "RNA only"))
    assert [cell.text for cell in table.reference[0][2:]] == ["0.500", "0.500", "0.500", "0.000"]
    assert table.reference[0][1].sort == pytest.approx(0.5, abs=0.02)  # 17 of each subtype, in folds of 11 and 12
    assert "AUROC: the highest deal reaches" in table.note
    assert "all above that" in table.note
    assert len([line for line in table.csv.splitlines() if line.startswith("shuffled")]) == DEALS * 3 * 5
    assert control_sentence(full_evidence).startswith("With shuffled outcomes the same pipeline reaches AUROC 0.")


def test_a_control_as_good_as_the_run_is_said_so(full_evidence):
    one = replace(full_evidence.controls[0], subtype=(full_evidence.subtype,))
    section = null_controls(replace(full_evidence, controls=(one, full_evidence.controls[1])))
    assert "the run's own rows are not all above that" in blocks_of(section)["null-controls"].note


def test_survival_is_calibrated_at_a_time_the_folds_reach(full_evidence):
    figure = blocks_of(survival(full_evidence, None))["survival-calibration"]
    curves = full_evidence.survival.curves
    at = horizon(curves)
    assert max(curve.times[0] for curve in curves) <= at <= min(curve.times[-1] for curve in curves)
    table = pd.read_csv(io.StringIO(figure.csv))
    mine = table[table["modality"] == "both"]
    assert mine["patients"].sum() == 33
    assert mine["time_days"].to_numpy() == pytest.approx(at)
    assert mine["predicted"].is_monotonic_increasing
    assert mine["observed"].iloc[-1] > mine["observed"].iloc[0]
    assert [panel.name for panel in figure.panels] == [f"survival-calibration-{m}" for m in ("slide", "rna", "both")]


def test_brier_of_the_baseline_is_that_of_the_training_patients_curve(full_evidence):
    """Against the scores, which come from another path: the integral over time of a fold's curve is its IBS."""
    result = full_evidence.survival
    for curve in result.curves:
        if curve.modality != "both":
            continue
        outcome = (curve.train_time, curve.train_event, curve.time, curve.event)
        found = brier_curve(*outcome, curve.survival, curve.times)
        assert found.integrated == pytest.approx(result.score("both", "ibs").folds[curve.fold])
        assert found.integrated_baseline == pytest.approx(result.score("both", "ibs_km").folds[curve.fold])
    figure = blocks_of(survival(full_evidence, None))["brier"]
    assert [panel.name for panel in figure.panels] == ["brier", "brier-gain"]
    shown = pd.read_csv(io.StringIO(figure.csv))
    assert set(shown["modality"]) == {"slide", "rna", "both"}
    per_row = [mine["baseline"].to_numpy() for _, mine in shown.groupby("modality")]
    assert np.ptp(per_row, axis=0).max() == 0  # the same patients in every row, so one baseline


def test_maps_show_subtype_part_and_the_shared_space(full_report, full_evidence, page, flat_umap):
    files = {a["download"]: a["href"] for a in page.all("a") if "download" in a}
    read = {n: pd.read_csv(io.BytesIO(base64.b64decode(files[n].split("base64,")[1]))) for n in files if "umap" in n}
    assert set(read) == {"umap.csv", "umap-part.csv", "umap-aligned.csv"}
    assert read["umap.csv"][["x", "y"]].equals(read["umap-part.csv"][["x", "y"]])  # one map, two colourings
    part_of = full_evidence.fold.part_of()
    joint = read["umap-part.csv"].query("modality == 'both'")
    assert len(joint) == 34
    assert list(joint["part"]) == [part_of[p] for p in joint["patient_id"]]
    assert read["umap-aligned.csv"]["modality"].value_counts().to_dict() == {"slide": 35, "RNA": 35}
    assert len(embeddings(replace(full_evidence, aligned={}), seed=0).blocks) == 2


def test_every_figure_and_table_has_its_data_and_every_panel_its_svg(page):
    files = {a["download"] for a in page.all("a") if "download" in a}
    assert {f"{figure['id']}.csv" for figure in page.all("figure")} <= files
    assert {f"{table['id']}.csv" for table in page.all("table")} - files <= {"top-tiles.csv"}
    panels = {div["id"].removeprefix("panel-") for div in page.all("div") if (div.get("id") or "").startswith("panel-")}
    assert {button["data-svg"] for button in page.all("button") if "data-svg" in button} == panels
    assert len(panels) >= 25


def test_headings_are_ordered(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_policy_allows_this_style_and_script_and_nothing_else(full_report, page):
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    policy = dict(part.strip().split(" ", 1) for part in policies[0].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"
    for tag in ("style", "script"):
        assert len(page.all(tag)) == 1
        content = re.search(rf"<{tag}>(.*?)</{tag}>", full_report.html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_anywhere(full_report, page):
    for _, attributes in page.elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), value[:80]
    assert set(re.findall(r"https?://[^\s\"'<]*", full_report.html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_ids_are_text_and_never_markup(full_report, page):
    assert EVIL_ID not in full_report.html
    assert EVIL_SLIDE not in full_report.html
    assert "<img src=x" not in full_report.html
    assert page.all("img") == []
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in full_report.html or "S0" in full_report.html
    assert "&lt;b&gt;X&lt;/b&gt;" in full_report.html  # a gene's name
    assert page.all("b") != []


def test_downloads_hold_the_data_and_defuse_formulas(page):
    files = {a["download"]: a["href"] for a in page.all("a") if "download" in a}
    decoded = {name: base64.b64decode(href.split("base64,")[1]).decode() for name, href in files.items()}
    assert {
        "subtype-scores.csv",
        "roc.csv",
        "kaplan-meier.csv",
        "survival-calibration.csv",
        "null-controls.csv",
        "checkpoints.csv",
        "umap.csv",
        "gene-heatmap.csv",
        "gene-spread.csv",
        "gene-curve.csv",
    } <= set(decoded)
    assert decoded["subtype-scores.csv"].splitlines()[0] == (
        "run,modality,metric,mean,sd_over_folds,low,high,fold_0,fold_1,fold_2"
    )
    assert "'=cmd()" in decoded["gene-table.csv"]
    assert EVIL_ID in decoded["umap.csv"]
    low = [row.split(",") for row in decoded["kaplan-meier.csv"].splitlines() if row.startswith("low")]
    assert float(low[0][2]) == 1.0
    assert [float(row[1]) for row in low] == sorted(float(row[1]) for row in low)


def test_readable_without_seeing_and_without_a_mouse(page):
    tags = [tag for tag, _ in page.elements]
    assert tags.count("main") == tags.count("nav") == tags.count("h1") == tags.count("footer") == 1
    assert page.all("html")[0]["lang"] == "en"
    assert page.text["title"]
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            if name in attributes:
                assert attributes[name] in ids
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert len(svg["aria-label"]) > 15
    assert len(page.all("table")) == len(page.all("caption")) >= 9
    assert len(page.all("figure")) == len(page.all("figcaption")) >= 11
    assert all(th["scope"] in ("col", "row") for th in page.all("th"))
    assert all(button["type"] == "button" for button in page.all("button"))


def test_same_evidence_same_bytes(full_evidence, full_report, flat_umap):
    assert lay_out(full_evidence, seed=0, paper="brca").html == full_report.html


def test_umap_follows_the_seed_and_keeps_groups_together():
    group = np.arange(40) % 2
    values = np.random.default_rng(0).normal(size=(40, 8)) + 6 * group[:, None]
    first = project(values, seed=0)
    assert np.array_equal(first, project(values, seed=0))
    assert not np.array_equal(first, project(values, seed=1))
    apart = np.linalg.norm(first[:, None] - first, axis=2) + np.diag(np.full(40, np.inf))
    assert np.array_equal(group[apart.argmin(1)], group)


def test_every_map_is_given_the_reports_seed(full_evidence, monkeypatch):
    seeds = []
    draw = "mirror_eval.report.sections.embeddings.project"
    monkeypatch.setattr(draw, lambda values, seed: seeds.append(seed) or values[:, :2])
    lay_out(full_evidence, seed=1, paper="brca")
    assert set(seeds) == {1}


def test_methods_paragraph_says_what_the_records_say(full_report):
    text = full_report.html.split('id="methods-text">')[1].split("</p>")[0]
    assert "tiles of 256 × 256 pixels at 0.5 µm per pixel, each at least 25% tissue" in text
    assert "encoded with toy (4 features)" in text
    assert "60 genes (log2(tpm+0.001)) was available for 35 patients" in text
    assert "MIRROR was trained on the training patients of each of 3 outer folds" in text
    assert "3 epochs, batches of 8" in text
    assert "ridge-penalised logistic regression" in text
    assert "log-rank test stratified by fold" in text
    assert "random features in place of the embeddings (5 deals each)" in text


def test_genes_fitted_outside_training_are_called_out(full_evidence, full_report):
    assert "no validation or test patient had a say" in full_report.html
    leaked = (*full_evidence.genes.fitted_on, *full_evidence.fold.test[:2])
    section = genes(replace(full_evidence, genes=replace(full_evidence.genes, fitted_on=leaked)))
    assert "Beware: it was fitted on" in section.lead
    assert "of whom 2 are not training patients" in section.lead


# What is missing is left out with a sentence -----------------------------------------------------------------------


def made(tmp_path, **options) -> Store:
    store = create_store(tmp_path / "cohort.zarr")
    return fill(store, **options)


def test_without_controls(tmp_path, flat_umap):
    report = build_report(made(tmp_path, patients=24), RUN, controls=False, resamples=5)
    assert absent(report)["Null controls"] == "They were not asked for (--no-controls)."
    assert "Controls" not in dict(report.summary.sentences)


def test_a_run_that_cannot_be_scored_is_named(tmp_path, flat_umap):
    store = made(tmp_path, patients=24, with_survival=False)
    add_run(store, "untrained", patients=24)
    report = build_report(store, RUN, controls=False, resamples=5)
    assert "run untrained" in report.html
    others = [("gone", Missing("It was never embedded."))]
    table = score_table("id", "caption", evaluate_subtype(store, RUN, resamples=5), COLUMNS, None, others)
    assert "Run gone is not shown: It was never embedded." in table.note
    assert len(table.rows) == 3


def test_without_slides_and_outcomes(tmp_path, flat_umap):
    report = build_report(made(tmp_path, patients=24, with_survival=False), RUN, controls=False, resamples=5)
    assert report.sections == SECTIONS
    assert absent(report)["Attention on slides"].startswith("The run holds no attention")
    assert "No patient has an event" in absent(report)["Survival analysis"]
    assert "Survival" not in dict(report.summary.sentences)
    assert "apart with accuracy" in report.summary.headline
    assert "C-index" not in report.summary.headline


def test_with_one_class_only(tmp_path, flat_umap):
    report = build_report(made(tmp_path, patients=24, subtypes=1), RUN, controls=False, resamples=5)
    assert absent(report)["Subtyping"] == "Subtyping needs two subtypes (1 subtypes)."
    assert "Heatmap of genes" in absent(report)
    assert report.summary.headline.startswith("Slides and RNA together rank patients")


def test_three_classes(tmp_path, full_evidence):
    result = evaluate_subtype(made(tmp_path, patients=36, subtypes=3), RUN, resamples=5)
    blocks = {
        block.id: block
        for block in subtyping(replace(full_evidence, subtype=result), None).blocks
        if hasattr(block, "id")
    }
    assert "of each class against the rest" in blocks["roc"].caption
    assert "of the predicted class" in blocks["calibration"].caption
    assert blocks["confusion"].columns == ("", "called type 0", "called type 1", "called type 2")
    called = np.array([[int(cell.text) for cell in row[1:]] for row in blocks["confusion"].rows])
    assert called.sum() == 34
    assert np.trace(called) / 34 == pytest.approx(result.score("both", "accuracy").mean, abs=0.05)


def test_few_patients_have_no_umap(full_evidence):
    few = {
        modality: replace(found, patient_ids=found.patient_ids[:9], values=found.values[:9])
        for modality, found in full_evidence.embeddings.items()
    }
    block = embeddings(replace(full_evidence, embeddings=few), seed=0).blocks[0]
    assert isinstance(block, Absent)
    assert "at least 10 patients" in block.reason


def test_stored_predictions_alone(tmp_path, flat_umap):
    store = made(tmp_path, patients=24)
    add_predictions(store, "plain")
    report = build_report(store, "plain", resamples=5)
    assert report.summary.headline.startswith("Predictions tell type 0 and type 1 apart with accuracy 1.00")
    assert "the run's own risks" in report.html.replace("&#39;", "'")
    assert {"UMAP", "Cross-modal retrieval", "Selected genes", "Null controls"} <= set(absent(report))
    assert absent(report)["Null controls"] == "The run's folds have no embeddings."
    assert absent(report)["Calibration of survival"] == "The run gives risks, not chances of survival."


# Wrong inputs ------------------------------------------------------------------------------------------------------


def test_no_such_run(full_store):
    for arguments in ({"run": "unknown"}, {"run": RUN, "compare": ["unknown"]}):
        with pytest.raises(StoreError) as caught:
            build_report(full_store, **arguments)
        assert caught.value.code == "MISSING"
        assert caught.value.key == "runs/unknown"


def test_damage_is_an_error_and_never_left_out(tmp_path):
    store = made(tmp_path, patients=24)
    chunks = sorted((tmp_path / "cohort.zarr" / "rna" / "X" / "c").rglob("*"))
    victim = next(path for path in chunks if path.is_file())
    victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    with pytest.raises(StoreError) as caught:
        build_report(store, RUN, controls=False, resamples=5)
    assert caught.value.code == "CORRUPT_STORE"


@pytest.mark.parametrize("options", [{"paper": "colon"}, {"resamples": 0}, {"seed": -1}, {"compare": [RUN]}])
def test_bad_options(full_store, options):
    with pytest.raises(BadInput) as caught:
        build_report(full_store, RUN, **options)
    assert caught.value.code == "BAD_OPTION"


def test_cannot_write_there(full_report, tmp_path):
    for target in (tmp_path, tmp_path / "no" / "such" / "folder.html"):
        with pytest.raises(BadInput) as caught:
            write_report(full_report, target)
        assert caught.value.code == "BAD_PATH"


def test_command_writes_the_page_and_tells(tmp_path, capsys, flat_umap):
    store = made(tmp_path / "cohort", patients=24)
    add_predictions(store, "told")
    out = tmp_path / "page.html"
    arguments = ["--store", store.url, "--run", RUN, "--out", str(out), "--resamples", "5", "--no-controls"]
    arguments += ["--compare", "told"]
    assert run(command, [*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(out)
    assert tuple(told["sections"]) == SECTIONS
    assert told["summary"]["headline"].startswith("Slides and RNA together tell type 0 and type 1 apart")
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("run told") >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort", "page.html"]


def test_command_exit_codes(full_store, tmp_path, capsys):
    assert run(command, ["--store", str(tmp_path / "none.zarr"), "--run", RUN]) == 2
    assert run(command, ["--store", full_store.url, "--run", "unknown"]) == 2
    assert run(command, ["--store", full_store.url, "--run", RUN, "--paper", "colon"]) == 2
    assert run(command, ["--store", full_store.url, "--run", RUN, "--compare", RUN]) == 2
    assert run(command, ["--store", full_store.url, "--run", RUN, "--compare", "unknown"]) == 2
    assert "Traceback" not in capsys.readouterr().err

"""The page as a file: what it says, that it is well formed, and that nothing in the data can change it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import (
    Predictions,
    Store,
    create_store,
    read_patients,
    read_run,
    read_split,
    schema,
    write_predictions,
    write_run,
)
from mirror_eval.cli.report import command
from mirror_eval.report.blocks import Absent
from mirror_eval.report.build import Report, build_report, lay_out, write_report
from mirror_eval.report.sections.embeddings import embeddings
from mirror_eval.report.sections.genes import genes
from mirror_eval.report.sections.subtyping import subtyping
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival

from tests.eval.report.filled_store import EVIL_ID, EVIL_SLIDE, FOLDS, RUN, fill

VOID = {"meta", "link", "br", "img", "input", "hr"}
SECTIONS = (
    *("cohort", "subtyping", "survival", "embeddings", "alignment", "genes", "attention", "provenance", "methods"),
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
        "umap.csv",
        "gene-heatmap.csv",
        "gene-spread.csv",
        "gene-curve.csv",
    } <= set(decoded)
    assert decoded["subtype-scores.csv"].splitlines()[0] == (
        "modality,metric,mean,sd_over_folds,low,high,fold_0,fold_1,fold_2"
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


def test_same_evidence_same_bytes(full_evidence, full_report):
    assert lay_out(full_evidence, seed=0, paper="brca").html == full_report.html
    assert lay_out(full_evidence, seed=1, paper="brca").html != full_report.html  # another UMAP


def test_methods_paragraph_says_what_the_records_say(full_report):
    text = full_report.html.split('id="methods-text">')[1].split("</p>")[0]
    assert "tiles of 256 × 256 pixels at 0.5 µm per pixel, each at least 25% tissue" in text
    assert "encoded with toy (4 features)" in text
    assert "60 genes (log2(tpm+0.001)) was available for 35 patients" in text
    assert "MIRROR was trained on the training patients of each of 3 outer folds" in text
    assert "3 epochs, batches of 8" in text
    assert "ridge-penalised logistic regression" in text
    assert "log-rank test stratified by fold" in text


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


def test_without_slides_and_outcomes(tmp_path, flat_umap):
    report = build_report(made(tmp_path, patients=24, with_survival=False), RUN, resamples=5)
    assert report.sections == SECTIONS
    assert absent(report)["Attention on slides"].startswith("The run holds no attention")
    assert "No patient has an event" in absent(report)["Survival analysis"]
    assert "Survival" not in dict(report.summary.sentences)
    assert "apart with accuracy" in report.summary.headline
    assert "C-index" not in report.summary.headline


def test_with_one_class_only(tmp_path, flat_umap):
    report = build_report(made(tmp_path, patients=24, subtypes=1), RUN, resamples=5)
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
    patients, split = read_patients(store).table, read_split(store, "main")
    for k in range(FOLDS):
        record = read_run(store, RUN, k)
        write_run(store, replace(record, name="plain"), parents={})
        part = split.folds[k].part_of()
        rows = patients.loc[sorted(part)].dropna().reset_index()
        table = rows[["patient_id"]].assign(part=[part[p] for p in rows["patient_id"]])
        chance = np.where(rows["subtype"] == "type 1", 0.8, 0.3)
        probabilities = table.assign(**{"prob_type 0": 1 - chance, "prob_type 1": chance})
        risks = table.assign(risk=-np.log(rows["time_days"].astype(float)))
        parents = store.parents(schema.run("plain", k))
        write_predictions(store, Predictions("plain", k, "subtype", probabilities), parents=parents)
        write_predictions(store, Predictions("plain", k, "survival", risks), parents=parents)
    report = build_report(store, "plain", resamples=5)
    assert report.summary.headline.startswith("Predictions tell type 0 and type 1 apart with accuracy 1.00")
    assert "the run's own risks" in report.html.replace("&#39;", "'")
    assert {"UMAP", "Cross-modal retrieval", "Selected genes"} <= set(absent(report))


# Wrong inputs ------------------------------------------------------------------------------------------------------


def test_no_such_run(full_store):
    with pytest.raises(StoreError) as caught:
        build_report(full_store, "unknown")
    assert caught.value.code == "MISSING"


def test_damage_is_an_error_and_never_left_out(tmp_path):
    store = made(tmp_path, patients=24)
    chunks = sorted((tmp_path / "cohort.zarr" / "rna" / "X" / "c").rglob("*"))
    victim = next(path for path in chunks if path.is_file())
    victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    with pytest.raises(StoreError) as caught:
        build_report(store, RUN, resamples=5)
    assert caught.value.code == "CORRUPT_STORE"


@pytest.mark.parametrize("options", [{"paper": "colon"}, {"resamples": 0}, {"seed": -1}])
def test_bad_options(full_store, options):
    with pytest.raises(BadInput) as caught:
        build_report(full_store, RUN, **options)
    assert caught.value.code == "BAD_OPTION"


def test_cannot_write_there(full_report, tmp_path):
    for target in (tmp_path, tmp_path / "no" / "such" / "folder.html"):
        with pytest.raises(BadInput) as caught:
            write_report(full_report, target)
        assert caught.value.code == "BAD_PATH"


def test_command_writes_the_page_and_tells(full_store, tmp_path, capsys, flat_umap):
    out = tmp_path / "page.html"
    arguments = ["--store", full_store.url, "--run", RUN, "--out", str(out), "--resamples", "5"]
    assert run(command, [*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(out)
    assert tuple(told["sections"]) == SECTIONS
    assert told["summary"]["headline"].startswith("Slides and RNA together tell type 0 and type 1 apart")
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_command_exit_codes(full_store, tmp_path, capsys):
    assert run(command, ["--store", str(tmp_path / "none.zarr"), "--run", RUN]) == 2
    assert run(command, ["--store", full_store.url, "--run", "unknown"]) == 2
    assert run(command, ["--store", full_store.url, "--run", RUN, "--paper", "colon"]) == 2
    assert "Traceback" not in capsys.readouterr().err

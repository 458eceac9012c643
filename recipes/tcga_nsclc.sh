#!/usr/bin/env bash
# TCGA-NSCLC (LUAD and LUSC) from public files to a report, five published folds; see region_bags.md.
#   recipes/tcga_nsclc.sh DATA_FOLDER [OUT_FOLDER [all]]       all: every method beside MIRROR
set -euo pipefail
data=${1:?usage: tcga_nsclc.sh DATA_FOLDER [OUT_FOLDER [all]]}
out=${2:-tcga_nsclc}
here=$(cd "$(dirname "$0")" && pwd)
store=$out/cohort.zarr
tables=("$data/tcga/clinical_rna_luad.csv.zip" "$data/tcga/clinical_rna_lusc.csv.zip")
mkdir -p "$out"
. "$here/region_bags.sh"

step mirror-data import bags "$data/tcga/region_bags_lung.npz" --store "$store" --tiling region4096 --encoder hipt
once patients mirror-data outcomes "${tables[@]}" --store "$store"
once rna mirror-data expression "${tables[@]}" --store "$store" --gene-suffix _rnaseq --unit zscore
folds "$data/splits/tcga_nsclc"
train_mirror
[ "${3:-}" != all ] || train_others
step python "$here/table.py" "$store" "$out/table.csv"
step mirror-eval report --store "$store" --run mirror --paper nsclc --out "$out/report.html"

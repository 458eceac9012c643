#!/usr/bin/env bash
# TCGA-BRCA from public files to a report, five published folds; see region_bags.md.
#   recipes/tcga_brca.sh DATA_FOLDER [OUT_FOLDER [all]]        all: every method beside MIRROR
set -euo pipefail
data=${1:?usage: tcga_brca.sh DATA_FOLDER [OUT_FOLDER [all]]}
out=${2:-tcga_brca}
here=$(cd "$(dirname "$0")" && pwd)
store=$out/cohort.zarr
mkdir -p "$out"
. "$here/region_bags.sh"

step mirror-data import bags "$data/tcga/region_bags_brca.npz" --store "$store" --tiling region4096 --encoder hipt
once patients mirror-data outcomes "$data/tcga/clinical_rna_brca.csv.zip" --store "$store" --subtypes IDC,ILC
once rna mirror-data expression "$data/tcga/clinical_rna_brca.csv.zip" --store "$store" --gene-suffix _rnaseq --unit zscore
folds "$data/splits/tcga_brca"
train_mirror
[ "${3:-}" != all ] || train_others
step python "$here/table.py" "$store" "$out/table.csv"
step mirror-eval report --store "$store" --run mirror --paper brca --out "$out/report.html"

#!/usr/bin/env bash
# TCGA-BRCA from public files to a report, five published folds. See tcga_brca.md.
#   recipes/tcga_brca.sh DATA_FOLDER [OUT_FOLDER]
set -euo pipefail
data=${1:?usage: tcga_brca.sh DATA_FOLDER [OUT_FOLDER]}
out=${2:-tcga_brca}
here=$(cd "$(dirname "$0")" && pwd)
store=$out/cohort.zarr
mkdir -p "$out"

step() { printf '\n$ %s\n' "$*" >&2; "$@"; }
once() { # once KEY COMMAND...: skip what the store already holds
    if [ -f "$store/$1/zarr.json" ]; then printf '\n(%s is in the store)\n' "$1" >&2; else step "${@:2}"; fi
}

step mirror-data import bags "$data/tcga/region_bags_brca.npz" --store "$store" --tiling region4096 --encoder hipt
once patients mirror-data outcomes "$data/tcga/clinical_rna_brca.csv.zip" --store "$store" --subtypes IDC,ILC
once rna mirror-data expression "$data/tcga/clinical_rna_brca.csv.zip" --store "$store" --gene-suffix _rnaseq --unit zscore
once splits/published mirror-data split --store "$store" --name published --from "$data/splits/tcga_brca"
for run in untrained mirror; do
    settings=()
    [ "$run" = untrained ] && settings=(--set epochs=0)
    step mirror-model train --no-embed --store "$store" --run "$run" --split published \
        --config "$here/tcga_brca.toml" "${settings[@]}"
    step mirror-model embed --store "$store" --run "$run"
    step mirror-eval subtype --store "$store" --run "$run"
    step mirror-eval cindex --store "$store" --run "$run"
done
step mirror-eval report --store "$store" --run mirror --paper brca --out "$out/report.html"

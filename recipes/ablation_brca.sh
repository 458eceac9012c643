#!/usr/bin/env bash
# The rows of ablation_brca.toml in a store that tcga_brca.sh (or tcga_nsclc.sh) filled, on validation parts: the test
# patients of the published folds take no part.
#   recipes/ablation_brca.sh COHORT.zarr [VARIANT...]          every variant unless some are named
set -euo pipefail
store=${1:?usage: ablation_brca.sh COHORT.zarr [VARIANT...]}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/region_bags.sh"

variants=("${@:2}")
if [ ${#variants[@]} -eq 0 ]; then
    mapfile -t variants < <(python -c "import sys, tomllib; print(*tomllib.load(open(sys.argv[1], 'rb'))['variant'], sep='\n')" \
        "$here/ablation_brca.toml")
fi
once splits/choose python "$here/validation_folds.py" "$store"
runs=()
for variant in "${variants[@]}"; do
    step mirror-model train --store "$store" --run "ablation-$variant" --split choose \
        --config "$here/ablation_brca.toml" --variant "$variant"
    runs+=("ablation-$variant")
done
step python "$here/table.py" "$store" "$(dirname "$store")/ablation.csv" "${runs[@]}"

#!/usr/bin/env bash
# The rows of ablation_brca.toml on TCGA-BRCA, five published folds, in the store that tcga_brca.sh filled.
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
runs=()
for variant in "${variants[@]}"; do
    pretrain "ablation-$variant" --config "$here/ablation_brca.toml" --variant "$variant"
    runs+=("ablation-$variant")
done
step python "$here/table.py" "$store" "$(dirname "$store")/ablation.csv" "${runs[@]}"

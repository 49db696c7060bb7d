#!/usr/bin/env bash
# The shipped model beside other evaluators, in one run on this machine: installs them under target/peers, makes of the model what each
# needs, then measures. Arguments go to the bench: `benches/peers/models.sh --help`.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v gcc >/dev/null || { echo "gcc is missing: apt-get install gcc" >&2; exit 1; }
source benches/peers/venv.sh models benches/peers/requirements-models.txt
packages=$(target/peers/models/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
target/peers/models/bin/python benches/peers/models.py models/default/model.json target/peers/made
exec cargo bench --locked --features peers --bench model_peers_table -- \
  --made "$PWD/target/peers/made" \
  --libxgboost "$packages/xgboost/lib/libxgboost.so" \
  --onnxruntime "$(echo "$packages"/onnxruntime/capi/libonnxruntime.so.*)" "$@"

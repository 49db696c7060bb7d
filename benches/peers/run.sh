#!/usr/bin/env bash
# The service beside others, in one run on this machine: installs what the peers need under target/peers, then measures.
# Arguments go to the bench: `benches/peers/run.sh --help`.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v redis-server >/dev/null || { echo "redis-server is missing: apt-get install redis-server" >&2; exit 1; }
source benches/peers/venv.sh venv benches/peers/requirements.txt
exec cargo bench --locked --bench service_table -- --python "$PWD/target/peers/venv/bin/python" "$@"

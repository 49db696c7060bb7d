#!/usr/bin/env bash
# The service beside others, in one run on this machine: installs what the peers need under target/peers, then measures.
# Arguments go to the bench: `benches/peers/run.sh --help`.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers=$PWD/target/peers
for program in redis-server python3; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install redis-server python3-venv" >&2; exit 1; }
done
if ! cmp -s benches/peers/requirements.txt "$peers/installed.txt"; then
  python3 -m venv --clear "$peers/venv"
  "$peers/venv/bin/pip" install --quiet --requirement benches/peers/requirements.txt
  cp benches/peers/requirements.txt "$peers/installed.txt"
fi
exec cargo bench --locked --bench service_table -- --python "$peers/venv/bin/python" "$@"

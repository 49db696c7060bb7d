#!/usr/bin/env bash
# Counts the instructions of each stage of a decision under valgrind, and holds them to benches/instructions.txt; `--accept` records them
# anew, `--help` lists the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --locked --bench instructions -- "$@"

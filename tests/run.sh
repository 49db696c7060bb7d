#!/usr/bin/env bash
# Runs all tests; installs what a fresh Debian lacks for them. Arguments go to `cargo test`; without any, the window store is also
# run under a model checker that tries out orders of threads, and the instructions of each stage of a decision are held to what was
# recorded (benches/instructions.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
command -v redis-server >/dev/null || missing+=(redis-server) # the enrichment tests start one of their own
[ $# -gt 0 ] || command -v valgrind >/dev/null || missing+=(valgrind) # counts instructions
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  # The package's own service is not wanted: the tests start servers on free ports.
  printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null
  $as_root chmod +x /usr/sbin/policy-rc.d
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"
  $as_root rm -f /usr/sbin/policy-rc.d
fi
if [ $# -eq 0 ]; then
  cargo test --locked --features shuttle --test window_schedules
fi
cargo test --locked --features parquet "$@"
# What is recorded is what an x86_64 takes.
if [ $# -eq 0 ] && [ "$(uname -m)" = x86_64 ]; then
  benches/instructions.sh
fi

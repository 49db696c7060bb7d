#!/usr/bin/env bash
# What becomes of a service that is asked for more than it can do: loadtest/README.md, "Overload".
# Sends 1.2 times and twice its capacity C to a service, in open loop, with admission control and without.
set -euo pipefail

tollgate=${TOLLGATE:-target/release/tollgate}
rounds=${ROUNDS:-3}          # medians are taken over so many
seconds=${SECONDS_EACH:-5}   # of each measurement
connections=${CONNECTIONS:-512}
deadline_ms=80
service_cpus=${SERVICE_CPUS:-0}
load_cpus=${LOAD_CPUS:-1}
undisturbed=${UNDISTURBED:-0}  # 1: before all else that runs (Linux, root), for a machine that others use too

directory=$(mktemp -d)
service=
trap '[ -z "$service" ] || kill "$service" 2>/dev/null || true; rm -rf "$directory"' EXIT

# own COMMAND: in a session of its own. Linux shares a processor out by sessions, and the share of one that runs hundreds of threads elsewhere is
# next to nothing here: a service in the generator's session starves as soon as anybody else wants its processor.
own() {
  setsid --wait bash -c '[ "$0" = 0 ] || echo -20 > /proc/self/autogroup; exec "$@"' "$undisturbed" "$@"
}

# serve NAME SETTINGS: a service of its own, on free ports.
serve() {
  printf '%s\n' "$2" > "$directory/$1.toml"
  own taskset -c "$service_cpus" "$tollgate" serve --config "$directory/$1.toml" --data "$directory/$1" \
    --listen 127.0.0.1:0 --admin 127.0.0.1:0 2> "$directory/$1.log" &
  waiting=$!
  address=
  while [ -z "$address" ]; do
    kill -0 "$waiting" || { cat "$directory/$1.log" >&2; exit 1; }
    sleep 0.2
    service=$(pgrep -f -- "serve --config $directory/$1.toml" | tail -1) || true
    address=$(jq -rR 'fromjson? | select(.message == "ready to decide").listen' "$directory/$1.log")
  done
}

stop() {
  kill "$service"
  wait "$waiting" || true
  service=
  rm -rf "${directory:?}"/*
}

load() {
  own taskset -c "$load_cpus" "$tollgate" load --target "http://$address" --json --duration "${seconds}s" "$@"
}

settings() { # off, or ANSWER, or ANSWER:in_flight_per_thread_max:queue_delay_target_ms
  local answer in_flight target
  IFS=: read -r answer in_flight target <<< "$1"
  case $answer in
    off) echo $'[overload]\nqueue_delay_target_ms = 0\nin_flight_per_thread_max = 0\n[server]\nin_flight_max = 100000' ;;
    *)
      echo $'[overload]\nanswer = "'"$answer"'"'
      [ -z "$in_flight" ] || echo "in_flight_per_thread_max = $in_flight"
      [ -z "$target" ] || echo "queue_delay_target_ms = $target" ;;
  esac
}

# Processor time that the service has taken so far, in microseconds.
used_us() { awk -v ticks="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000000 / ticks }' "/proc/$service/stat"; }

# The capacity: what 16 connections get through that always ask again, too few for anything to be shed. A service has less of it the more it
# remembers, and so has a machine that others use: it is taken anew before and after each measurement.
capacity_of() { # closed loop: far more is due than can be sent
  load --rate 50000 --warm-up 0s --connections 16 --timeout 1s |
    jq ".rate_achieved * .ok / (.ok + (.errors_by_kind.status_503 // 0))"
}

# Memory and tables of a service that has just begun are cold, and its first seconds would be measured instead of it.
warm() {
  load --rate 50000 --warm-up 0s --connections "$connections" --timeout 1s > /dev/null
}

measure() { # ADMISSION TIMES
  local before used_before result used_after after
  before=$(capacity_of)
  used_before=$(used_us)
  result=$(load --rate "$(jq -n "$before * $2 | floor")" --warm-up 1s --connections "$connections" --deadline-ms $deadline_ms --timeout 2s)
  used_after=$(used_us)
  # Whoever is still in work is not to be in the capacity.
  sleep 1
  after=$(capacity_of)
  # The second of warming up has its requests, too.
  jq -c --arg admission "$1" --argjson times "$2" --argjson before "$before" --argjson after "$after" --argjson seconds "$seconds" \
    --argjson used_us "$(jq -n "$used_after - $used_before")" '
      (($before + $after) / 2) as $capacity |
      {admission: $admission, times: $times, before: ($before | round), after: ($after | round), goodput: (.goodput / $capacity),
       ok_p99_ms: (.ok_p99_us / 1000), shed: ((.errors_by_kind.status_503 // 0) / ([.sent, 1] | max)),
       degraded: (.degraded / ([.ok, 1] | max)), sent: (.rate_achieved / .rate_target),
       cpu_us: ($used_us / ([.sent * (1 + 1 / $seconds), 1] | max) | round)}' <<< "$result" | tee -a "$directory.results" >&2
}

for round in $(seq "$rounds"); do
  for admission in ${ADMISSION:-off refuse rules_only}; do
    serve "$admission" "$(settings "$admission")"
    warm
    echo "round $round, $admission, load average $(cut -d' ' -f1 /proc/loadavg)" >&2
    for times in 1.2 2; do
      measure "$admission" "$times"
    done
    stop
  done
done

jq -rs '
  def median: sort | .[(length - 1) / 2 | floor];
  def two: . * 1000 | round / 1000;
  "admission    load  goodput/C  (from  to)       p99 of ok, ms  shed   by rules  sent  CPU us a request",
  (group_by([.admission, .times])[] |
    [.[0].admission, "\(.[0].times) C", (map(.goodput) | median, min, max | two), (map(.ok_p99_ms) | median | two),
     (map(.shed) | median | two), (map(.degraded) | median | two), (map(.sent) | median | two),
     (map(.cpu_us) | median | round)] | @tsv)' "$directory.results"
rm -f "$directory.results"

#!/usr/bin/env bash
# Fetches the MQTT client of browsers by npm, once, and a WebSocket for it to speak over; prints where they are.
# Exits with 3 and one plain sentence where that is not possible: the tests that want it are skipped then.
set -euo pipefail
wanted="mqtt@5.16.0 ws@8.18.0"
home="${WEIR_MQTT_NODE:-$HOME/.cache/weir-mqtt/node-5.16.0}"

not_possible() { printf 'mqtt.js is not here: %s\n' "$*" >&2; exit 3; }

if [ ! -e "$home/complete" ]; then
  command -v node >/dev/null || not_possible "there is no node"
  command -v npm >/dev/null || not_possible "there is no npm to fetch it with"
  mkdir -p "$home"
  # Two tests may ask at once.
  exec 9>"$home/lock"
  flock 9
  if [ ! -e "$home/complete" ]; then
    # shellcheck disable=SC2086
    timeout "${WEIR_MQTT_FETCH_S:-120}" npm install --prefix "$home" --no-audit --no-fund $wanted \
      >"$home/fetch.log" 2>&1 || not_possible "npm could not fetch it, see $home/fetch.log"
    touch "$home/complete"
  fi
fi
echo "$home/node_modules"

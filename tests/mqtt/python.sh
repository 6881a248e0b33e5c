#!/usr/bin/env bash
# Fetches the MQTT client for Python by pip, once; prints the interpreter that has it.
# Exits with 3 and one plain sentence where that is not possible: the tests that want it are skipped then.
set -euo pipefail
wanted="paho-mqtt==2.1.0"
home="${WEIR_MQTT_PYTHON:-$HOME/.cache/weir-mqtt/python-2.1.0}"

not_possible() { printf 'paho-mqtt is not here: %s\n' "$*" >&2; exit 3; }

if [ ! -e "$home/complete" ]; then
  command -v python3 >/dev/null || not_possible "there is no python3"
  mkdir -p "$home"
  # Two tests may ask at once.
  exec 9>"$home/lock"
  flock 9
  if [ ! -e "$home/complete" ]; then
    python3 -m venv "$home/venv" >"$home/fetch.log" 2>&1 || not_possible "see $home/fetch.log"
    timeout "${WEIR_MQTT_FETCH_S:-120}" "$home/venv/bin/pip" install --quiet "$wanted" >>"$home/fetch.log" 2>&1 ||
      not_possible "pip could not fetch it, see $home/fetch.log"
    touch "$home/complete"
  fi
fi
echo "$home/venv/bin/python"

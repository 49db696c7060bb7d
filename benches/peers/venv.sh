# Makes target/peers/NAME a Python with what REQUIREMENTS names, unless it is there: `source venv.sh NAME REQUIREMENTS`, at the project's root.
command -v python3 >/dev/null || { echo "python3 is missing: apt-get install python3-venv" >&2; exit 1; }
if ! cmp -s "$2" "target/peers/$1/installed.txt"; then
  python3 -m venv --clear "target/peers/$1"
  "target/peers/$1/bin/pip" install --quiet --requirement "$2"
  cp "$2" "target/peers/$1/installed.txt"
fi

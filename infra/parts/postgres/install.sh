#!/bin/bash
# PostgreSQL's own binaries, without a package manager and without root. Usage: install.sh FOLDER
set -euo pipefail
dir=$1
case "$(uname -s) $(uname -m)" in
  'Linux x86_64') platform=linux-amd64 ;;
  'Linux aarch64') platform=linux-arm64v8 ;;
  'Darwin x86_64') platform=darwin-amd64 ;;
  'Darwin arm64') platform=darwin-arm64v8 ;;
  *) echo "there are no PostgreSQL binaries for $(uname -s) $(uname -m)" >&2; exit 1 ;;
esac
mvn -q -B -f infra/parts/postgres/pom.xml -Dplatform=$platform \
  dependency:copy-dependencies "-DoutputDirectory=$dir/jar"
# Python unpacks zip and xz everywhere; unzip and xz are not everywhere.
python3 -m zipfile -e "$dir"/jar/*.jar "$dir/unpacked"
python3 -m tarfile -e "$dir"/unpacked/*.txz "$dir"
rm -rf "$dir/jar" "$dir/unpacked"

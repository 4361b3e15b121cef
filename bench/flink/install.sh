#!/usr/bin/env bash
# bench/flink/install.sh DIR: Flink's own jars and ours into DIR. Not all of Flink's jars are on every Maven mirror; its
# Python distribution holds the whole of them.
set -euo pipefail
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir/download" "$dir/lib" "$dir/classes"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DexcludeTransitive=true "-DoutputDirectory=$dir/lib"
# pip builds the metadata before it keeps the archive, in an environment of its own.
python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: \
  -d "$dir/download" apache-flink-libraries==2.1.3
archive=$(ls "$dir"/download/*.tar.gz)
tar -xzf "$archive" -C "$dir/download" --strip-components=1
cp "$dir"/download/deps/lib/*.jar "$dir/lib"
rm -rf "$dir/download" "$dir"/lib/log4j-layout*
javac -cp "$dir/lib/*" -d "$dir/classes" "$here/FlinkAppend.java"

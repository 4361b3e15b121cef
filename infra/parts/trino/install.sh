#!/bin/bash
# A Trino that has the Iceberg connector alone. Usage: install.sh FOLDER
set -euo pipefail
dir=$1
mvn -q -B -f infra/parts/trino/pom.xml "-Dbuild.dir=$dir/target" dependency:copy-dependencies "-DoutputDirectory=$dir/archive"
# Plugins are hard links to one another: all are unpacked before all but one go.
mkdir "$dir/all"
tar -xzf "$dir"/archive/trino-server-*.tar.gz -C "$dir/all" --strip-components=1
mkdir "$dir/plugin"
mv "$dir/all/lib" "$dir/lib"
mv "$dir/all/plugin/iceberg" "$dir/plugin/iceberg"
rm -rf "$dir/archive" "$dir/all"

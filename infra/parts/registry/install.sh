#!/bin/bash
# Apicurio Registry: the last release that runs on Java 17. Its pom names a parent that is in no repository, so that it is
# fetched as a file and not resolved as a dependency. Usage: install.sh FOLDER
set -euo pipefail
dir=$1
version=3.0.9
mvn -q -B dependency:get -Dtransitive=false "-Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all"
mvn -q -B help:evaluate -Dexpression=settings.localRepository "-Doutput=$dir/repository"
mkdir -p "$dir/app"
python3 -m tarfile -e "$(cat "$dir/repository")/io/apicurio/apicurio-registry-app/$version/apicurio-registry-app-$version-all.tar.gz" "$dir/app"

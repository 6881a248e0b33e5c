#!/usr/bin/env bash
# Fetches Apache Kafka's own jars by Maven, once; prints the directory they are in.
# Exits with 3 and one plain sentence where that is not possible: the tests that want a real cluster
# are skipped then.
set -euo pipefail
version=4.1.2
jars="${WEIR_KAFKA_JARS:-$HOME/.cache/weir-kafka/$version}"

not_possible() { printf 'Apache Kafka is not here: %s\n' "$*" >&2; exit 3; }

if [ -e "$jars/complete" ]; then
  echo "$jars"
  exit 0
fi
command -v java >/dev/null || not_possible "there is no java (17 or newer)"
command -v mvn >/dev/null || not_possible "there is no mvn to fetch its jars with"
major="$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')"
[ "${major:-0}" -ge 17 ] || not_possible "java is version ${major:-unknown}, it needs 17"

mkdir -p "$jars"
cat >"$jars/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weir</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
timeout "${WEIR_KAFKA_FETCH_S:-300}" mvn -B -q -f "$jars/pom.xml" \
  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$jars/lib" >"$jars/fetch.log" 2>&1 ||
  not_possible "Maven could not fetch it, see $jars/fetch.log"
touch "$jars/complete"
echo "$jars"

#!/usr/bin/env bash
# One broker of Apache Kafka in KRaft mode, until its standard input closes: then it is killed, so that no
# test leaves one behind. Its records stay in DIRECTORY for the next start.
# usage: broker.sh JARS DIRECTORY PORT CONTROLLER_PORT
set -euo pipefail
jars=$1 directory=$2 port=$3 controller=$4

cat >"$directory/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$directory/data
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
PROPERTIES

run=(java -Xmx384m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/lib/*")
if [ ! -e "$directory/data/meta.properties" ]; then
  "${run[@]}" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c "$directory/server.properties" \
    >"$directory/format.txt" 2>&1
fi
"${run[@]}" kafka.Kafka "$directory/server.properties" </dev/null >>"$directory/out.txt" 2>&1 &
kafka=$!
cat >/dev/null || true
kill -KILL "$kafka"
wait "$kafka" 2>/dev/null || true

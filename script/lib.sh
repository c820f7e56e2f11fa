# shellcheck shell=bash
# What the scripts in this folder share: they say what they do, and install what is missing.
# Sourced, never run. Nothing that is already there is changed.

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# The server's programs, where Titan itself looks for them: it starts a Postgres of its own.
has_postgres() {
    [[ -n "${TITAN_PG_BIN:-}" ]] || has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# install_packages NAME...: Debian's packages, as root or through sudo.
install_packages() {
    has apt-get || fail "please install: $* (this is not a Debian, so it cannot be done for you)"
    local as_root=()
    if [[ "$(id -u)" != 0 ]]; then
        has sudo || fail "please install as root: apt-get install $*"
        as_root=(sudo)
    fi
    say "install $*"
    # "${x[@]+...}" because old shells call an empty list unset
    "${as_root[@]+"${as_root[@]}"}" apt-get update -qq
    "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_to_run: what building Titan and trying it takes.
need_to_run() {
    has cargo || fail "cargo is missing; install Rust: https://www.rust-lang.org/tools/install"
    local missing=()
    has cc || missing+=(build-essential)
    has git || missing+=(git)
    has_postgres || missing+=(postgresql)
    # the sample repository of the playground is built with npm
    has node || missing+=(nodejs)
    has npm || missing+=(npm)
    [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

# need_to_test: that, and what the tests take beyond it.
need_to_test() {
    need_to_run
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}

# install_contracts FOLDER: what GitHub publishes about its API and webhooks. The packages also describe Enterprise Server
# and hold everything twice; what the tests do not read (400 MB) is thrown away.
install_contracts() {
    local folder=$1 packages=(openapi@23.0.2 openapi-webhooks@12.1.0 webhooks-examples@7.6.1)
    local package there=true
    for package in "${packages[@]}"; do
        grep -qs "\"version\": \"${package#*@}\"" "$folder/node_modules/@octokit/${package%@*}/package.json" ||
            there=false
    done
    if $there; then return; fi
    say "install GitHub's published contracts: ${packages[*]}"
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
        "${packages[@]/#/@octokit/}"
    find "$folder"/node_modules/@octokit/openapi{,-webhooks}/generated \
        -name '*.json' ! -name api.github.com.json -delete
}

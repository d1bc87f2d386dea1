# Debian packages that the project needs, each with its reason; docs/dependencies.md says why these and no others.
# Sourced by ./dev.
readonly PACKAGES=(
  "clang-19|compiles C++23; Debian's g++ 12 miscompiles coroutines"
  "libclang-rt-19-dev|runtime of the sanitizers"
  "libfuzzer-19-dev|runs the fuzzers"
  "llvm-19|names functions in sanitizer reports"
  "clang-format-19|formats the code"
  "clang-tidy-19|finds coroutine mistakes"
  "cmake|configures the build"
  "ninja-build|runs the build"
  "mold|links"
  "ccache|keeps compiled files between builds"
  "pkgconf|finds SQLite and libpq"
  "libboost1.81-dev|Asio: sockets, timers, coroutines; Beast: HTTP"
  "libboost-system1.81-dev|needed by Asio"
  "libboost-json1.81-dev|JSON"
  "libssl-dev|hashes, and later TLS"
  "libgrpc++-dev|node-to-node calls"
  "protobuf-compiler|generates message code"
  "protobuf-compiler-grpc|generates service code"
  "libprotobuf-dev|messages between nodes"
  "libprotobuf-c-dev|reads the syntax trees of libpg_query"
  "libsqlite3-dev|stores and runs every range"
  "libpg-query-dev|PostgreSQL's own parser"
  "libpq-dev|the load's PostgreSQL client"
  "libspdlog-dev|logs"
  "libfmt-dev|text formatting"
  "libcli11-dev|command line"
  "prometheus-cpp-dev|metrics"
  "libtomlplusplus-dev|configuration files"
  "libre2-dev|regular expressions over records"
  "zlib1g-dev|gzip: files that are rotated, HTTP bodies"
  "libzstd-dev|zstd: the same"
  "libgtest-dev|tests"
  "libgmock-dev|tests"
  "librapidcheck-dev|random tests that shrink"
  "libbenchmark-dev|benchmarks"
  "postgresql-15|pgbench, and the server that wire tests and benchmarks compare with"
  "postgresql-client-15|psql"
  "python3-psycopg2|a PostgreSQL driver for wire tests"
  "etcd-server|the metadata store of clusters that span machines: outlast demo --meta=etcd, tests"
  "etcd-client|makes users in tests of etcd"
  "haproxy|the balancer of outlast demo --scenario=drain, and the check of outlast gen haproxy"
  "nginx|a server for the tests and the example of outlast run"
  "curl|HTTP in tests"
  "bsdutils|logger, a sender in tests of inputs"
  "netcat-openbsd|nc, the same"
  "liblognorm5|rsyslog, which is only unpacked: see below"
  "libglib2.0-0|syslog-ng, the same"
  "libivykis0|syslog-ng"
  "libjson-c5|syslog-ng"
  "libnet1|syslog-ng"
  "libpcre3|syslog-ng"
  "libwrap0|syslog-ng"
  "spin|checks the protocol's model"
  "iproute2|network namespaces of the fault tests"
  "nftables|cuts networks and loses packets in the fault tests"
)

# Senders in tests of inputs, and what `./dev bench ingest` compares with. A machine has one system logger, and installing
# these would make it another one: they lie below build/unpacked instead, as in /.
readonly UNPACKED=(rsyslog syslog-ng-core)

# Names of those that are not installed. No network, no apt.
missing_packages() {
  local names=("${PACKAGES[@]%%|*}") installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${names[@]}" 2> /dev/null | sed -n 's/^installed //p')
  comm -23 <(printf '%s\n' "${names[@]}" | sort) <(sort <<< "$installed")
}

# Into build/unpacked/PACKAGE, once. Needs no root unless apt's lists are missing.
unpack_packages() {
  local name dir=build/unpacked
  command -v apt-get > /dev/null || return 0
  for name in "${UNPACKED[@]}"; do
    [ -e "$dir/$name" ] && continue
    rm -rf "$dir/$name.new"
    mkdir -p "$dir/$name.new"
    if ! (
      cd "$dir/$name.new"
      apt-get download -qq "$name" 2> apt.log || { as_root apt-get update -qq && apt-get download -qq "$name" 2> apt.log; } &&
        dpkg-deb -x ./*.deb .
    ); then
      cat "$dir/$name.new/apt.log" >&2
      echo "./dev: apt could not download $name: check the network and /etc/apt/sources.list" >&2
      exit 1
    fi
    mv "$dir/$name.new" "$dir/$name"
  done
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Installs what is missing and says what and why. Does nothing, and needs no root, when nothing is.
install_packages() {
  if ! command -v dpkg-query > /dev/null; then
    echo "./dev: this is not Debian: install by hand what scripts/packages.sh lists (Debian 12's versions)" >&2
    return
  fi
  local missing entry as_root=()
  missing=$(missing_packages)
  [ -z "$missing" ] && return
  echo "Outlast needs these Debian packages:"
  for entry in "${PACKAGES[@]}"; do
    if grep -qxF "${entry%%|*}" <<< "$missing"; then printf '  %-26s %s\n' "${entry%%|*}" "${entry#*|}"; fi
  done
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo > /dev/null; then
      echo "./dev: run as root, once: apt-get install" $missing >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  # Debian's PostgreSQL would start a server of its own; we only want its programs.
  if grep -q '^postgresql-15$' <<< "$missing" && [ ! -e /etc/postgresql-common/createcluster.d/outlast.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/outlast.conf > /dev/null
  fi
  # Debian's etcd, haproxy and nginx would start servers of their own, now and with every boot.
  local service new_services=() policy=""
  for service in etcd:etcd-server haproxy:haproxy nginx:nginx; do
    if grep -qx "${service#*:}" <<< "$missing"; then new_services+=("${service%%:*}"); fi
  done
  if [ ${#new_services[@]} -gt 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\ncase "$1" in etcd* | haproxy* | nginx*) exit 101 ;; esac\n' | "${as_root[@]}" tee "$policy" > /dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  local installed=yes
  # shellcheck disable=SC2086  # one word a package
  { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } ||
    installed=""
  [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"
  if [ -n "$installed" ]; then
    for service in "${new_services[@]}"; do
      "${as_root[@]}" update-rc.d "$service" disable > /dev/null 2>&1 || true
    done
  fi
  if [ -z "$installed" ]; then
    echo "./dev: apt could not install the packages above: check the network and /etc/apt/sources.list" \
      "(Debian 12 \"bookworm\" with its security updates has all of them)" >&2
    exit 1
  fi
}

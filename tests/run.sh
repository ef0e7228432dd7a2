#!/usr/bin/env bash
# Everything from a bare machine to tested programs: set-up, build, every test.
#   bash tests/run.sh [--no-install]
set -euo pipefail
cd "$(dirname "$0")/.."

bash cmake/setup.sh --tests "$@"
export PATH=$PWD/build/venv/bin:$PATH
if [ -d ../shared/data/published ]; then export FPF_PUBLISHED_DATA=${FPF_PUBLISHED_DATA:-$PWD/../shared/data/published}; fi

cmake --preset release -DFPF_BUILD_DRIVERS=ON -DFPF_BUILD_TESTS=ON -DFPF_BUILD_BENCHMARKS=ON >build/configure.log ||
  { cat build/configure.log; exit 1; }
cmake --build --preset release -j "$(nproc)" --target all all_verify_interface_header_sets
ctest --preset release --no-tests=error

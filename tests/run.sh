#!/usr/bin/env bash
# Everything from a bare machine to tested programs: set-up, build, every header alone, every test.
#   bash tests/run.sh [--full] [--no-install]
#
#   --full   also what is too long for each change, of which it otherwise takes a sample: kernels by older CUDA toolkits
#            (every eighth), fuzzing (two minutes a reader instead of ten seconds), benchmarks that no test runs (built)
# build/tests.xml keeps what each test took, in JUnit's format.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz_seconds=10
benchmarks=OFF
setup=(--tests)
for option in "$@"; do
  if [ "$option" = --full ]; then
    export FPF_FULL_TESTS=1
    fuzz_seconds=120
    benchmarks=ON
  else
    setup+=("$option")
  fi
done
bash cmake/setup.sh "${setup[@]}"
export PATH=$PWD/build/venv/bin:$PATH
if [ -d ../shared/data/published ]; then export FPF_PUBLISHED_DATA=${FPF_PUBLISHED_DATA:-$PWD/../shared/data/published}; fi

cmake --preset release -DFPF_BUILD_DRIVERS=ON -DFPF_BUILD_TESTS=ON -DFPF_BUILD_BENCHMARKS=$benchmarks \
  -DFPF_FUZZ_SECONDS=$fuzz_seconds \
  >build/configure.log || { cat build/configure.log; exit 1; }
cmake --build --preset release -j "$(nproc)"
cmake --build --preset release --target verify_headers
# One more than there are cores: some tests sleep most of their time.
ctest --preset release --no-tests=error -j "$(($(nproc) + 1))" --output-junit "$PWD/build/tests.xml"

#!/usr/bin/env bash
# Everything from a bare machine to tested programs: set-up, build, every header alone, every test.
#   bash tests/run.sh [--full] [--no-install]
#
#   --full   also what is too long for each change, of which it otherwise takes a sample: kernels by older CUDA toolkits
#            (every eighth), fuzzing (two minutes a reader instead of ten seconds), examples/downstream compiled a second time
#            (with fpf's sources in its tree), benchmarks that no test runs (built)
# build/tests.xml keeps what each test took, in JUnit's format.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz_seconds=10
full=OFF
setup=(--tests)
for option in "$@"; do
  if [ "$option" = --full ]; then
    export FPF_FULL_TESTS=1
    fuzz_seconds=120
    full=ON
  else
    setup+=("$option")
  fi
done
bash cmake/setup.sh "${setup[@]}"
export PATH=$PWD/build/venv/bin:$PATH
if [ -d ../shared/data/published ]; then export FPF_PUBLISHED_DATA=${FPF_PUBLISHED_DATA:-$PWD/../shared/data/published}; fi

cmake --preset release -DFPF_BUILD_DRIVERS=ON -DFPF_BUILD_TESTS=ON -DFPF_BUILD_BENCHMARKS=$full \
  -DFPF_FULL_TESTS=$full -DFPF_FUZZ_SECONDS=$fuzz_seconds \
  >build/configure.log || { cat build/configure.log; exit 1; }
# Headers are verified beside all the rest, with what the cores have left: a build's last files and tests that sleep use
# half of them.
nice -n 19 python3 cmake/verify_headers.py build/release/verify_headers -j "$((($(nproc) + 1) / 2))" >build/headers.log 2>&1 &
headers=$!
trap 'kill $headers 2>/dev/null || true' EXIT
cmake --build --preset release -j "$(nproc)"
# One more than there are cores: some tests sleep most of their time.
ctest --preset release --no-tests=error -j "$(($(nproc) + 1))" --output-junit "$PWD/build/tests.xml"
wait $headers || { grep -v '^\[' build/headers.log; exit 1; }
echo "every header compiles alone: $(head -n 1 build/headers.log)"

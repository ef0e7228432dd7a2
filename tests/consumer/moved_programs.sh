#!/usr/bin/env bash
# moved_programs.sh CMAKE BUILD PREFIX BIN LIBTORCH: the installed tree with libtorch, and the built programs beside a libtorch,
# run where they are moved to, with the libtorch that is there.
set -euo pipefail
cmake=$1 build=$2 prefix=$3 bin=$4 libtorch=$5
unset LD_LIBRARY_PATH
folder=$(mktemp -d "$PWD/moved.XXXXXX")
trap 'rm -r "$folder"' EXIT

# check PROGRAM FOLDER: it runs, and every library of libtorch is found below FOLDER
check() {
  "$1" --help | grep -q ^Usage || { echo "$1 does not run" >&2; exit 1; }
  ldd "$1" | grep -E 'libtorch|libc10' >"$folder/found"
  if grep -vF "=> $2/" "$folder/found"; then echo "$1 takes a libtorch that is not below $2" >&2; exit 1; fi
}

cp -r "$prefix" "$folder/first"
CMAKE_INSTALL_MODE=ABS_SYMLINK "$cmake" --install "$build" --prefix "$folder/first" --component libtorch >/dev/null
mv "$folder/first" "$folder/elsewhere"
check "$folder/elsewhere/bin/exp0_reference" "$folder/elsewhere"

beside=$(realpath -s --relative-to="$bin" "$libtorch")
mkdir -p "$folder/build/bin" "$(dirname "$folder/build/bin/$beside")"
ln -s "$(realpath "$libtorch")" "$folder/build/bin/$beside"
cp "$bin/exp0_reference" "$folder/build/bin"
check "$folder/build/bin/exp0_reference" "$folder/build"

# A program finds its libraries wherever it is started: no empty entry, which would be the current folder.
for program in "$bin"/* "$folder"/elsewhere/bin/*; do
  if readelf -d "$program" | grep -E 'R(UN)?PATH.*(\[:|::|:\])'; then echo "$program looks in the current folder" >&2; exit 1; fi
done

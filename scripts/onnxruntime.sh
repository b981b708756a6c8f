#!/usr/bin/env bash
# Fetches ONNX Runtime's shared library and prints its path.
#
#   scripts/onnxruntime.sh [DIR]
#
# DIR is the folder of the library. The default is
# ${XDG_CACHE_HOME:-~/.cache}/pitboss/onnxruntime/<version>, where Pitboss looks for it.
# With ONNXRUNTIME_LIB set to a library of your own it fetches nothing.
#
# The library comes from npm's onnxruntime-node (with npm pack, so that the package's
# install script never runs) or else from PyPI's onnxruntime wheel, which has the same
# release without symbols. The script checks it against the sums below and then renames
# it into place: a truncated library would end the process with SIGBUS at its first call.
set -euo pipefail

version=1.27.0
name=libonnxruntime.so.1

die() { echo "onnxruntime.sh: $*" >&2; exit 1; }

if [[ -n "${ONNXRUNTIME_LIB:-}" ]]; then
  [[ -r "$ONNXRUNTIME_LIB" ]] || die "ONNXRUNTIME_LIB=$ONNXRUNTIME_LIB: no such file"
  echo "$ONNXRUNTIME_LIB"
  exit
fi

[[ "$(uname -s)" == Linux ]] || die "only Linux is supported; set ONNXRUNTIME_LIB to a library of release $version"
case "$(uname -m)" in
  x86_64)
    node_arch=x64 pip_arch=x86_64
    node_sum=d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221
    pip_sum=b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7 ;;
  aarch64 | arm64)
    node_arch=arm64 pip_arch=aarch64
    node_sum=c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f
    pip_sum=9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2 ;;
  *) die "no library for $(uname -m); set ONNXRUNTIME_LIB to one of release $version" ;;
esac

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/onnxruntime/$version}
lib=$dir/$name

# genuine FILE succeeds if the file's sum is one of the two known ones.
genuine() {
  [[ -f "$1" ]] || return 1
  local sum
  sum=$(sha256sum "$1" | cut -d' ' -f1)
  [[ "$sum" == "$node_sum" || "$sum" == "$pip_sum" ]]
}

if genuine "$lib"; then
  echo "$lib"
  exit
fi

mkdir -p "$dir"
# In the destination's folder, so that the move at the end is a rename.
scratch=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

from_npm() {
  command -v npm >/dev/null || return 1
  (cd "$scratch" && npm pack --silent "onnxruntime-node@$version" >/dev/null 2>npm.log) || return 1
  tar -xzf "$scratch/onnxruntime-node-$version.tgz" -C "$scratch" --strip-components=5 \
    "package/bin/napi-v6/linux/$node_arch/$name"
}

from_pypi() {
  local python
  python=$(command -v python3) || return 1
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 311 --platform "manylinux_2_27_$pip_arch" --platform "manylinux_2_28_$pip_arch" \
    --dest "$scratch" "onnxruntime==$version" >"$scratch/pip.log" 2>&1 || return 1
  "$python" - "$scratch" "onnxruntime/capi/libonnxruntime.so.$version" "$scratch/$name" <<'PY'
import glob, shutil, sys, zipfile
folder, member, to = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as z, z.open(member) as src, open(to, "wb") as dst:
    shutil.copyfileobj(src, dst)
PY
}

for fetch in from_npm from_pypi; do
  rm -f "$scratch/$name"
  "$fetch" || { echo "onnxruntime.sh: ${fetch#from_} did not give release $version; trying the next source" >&2; continue; }
  if genuine "$scratch/$name"; then
    chmod 755 "$scratch/$name"
    mv -f "$scratch/$name" "$lib"
    echo "$lib"
    exit
  fi
  echo "onnxruntime.sh: ${fetch#from_} gave a library with an unknown sha256; refused" >&2
done
cat "$scratch"/*.log >&2 2>/dev/null || true
die "could not fetch ONNX Runtime $version; set ONNXRUNTIME_LIB to a library of that release"

#!/usr/bin/env bash
# Fetches llama.cpp's vocabularies with their reference tokenizations (PyPI's llama-cpp-python, its
# source archive, 77 MB, of which 20 MB are kept) and prints the folder that holds them:
#
#   ./mvnw test -Dlethe.test.vocab="$(java/engine/src/test/fetch-vocabularies.sh)"
#
# Does nothing where they are there already. LETHE_CACHE says where (default ~/.cache/lethe).
set -euo pipefail

version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
vocabularies=(llama-spm llama-bpe gpt-2 starcoder falcon qwen2)

folder="${LETHE_CACHE:-$HOME/.cache/lethe}/llama-cpp-python-$version"
if [[ ! -d $folder ]]; then
  mkdir -p "$(dirname "$folder")"
  temporary=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps \
    --no-binary llama-cpp-python "llama-cpp-python==$version" --dest "$temporary" >&2
  archive=$temporary/llama_cpp_python-$version.tar.gz
  echo "$sha256  $archive" | sha256sum --check --quiet >&2
  models=llama_cpp_python-$version/vendor/llama.cpp/models
  mkdir "$temporary/models"
  members=()
  for vocabulary in "${vocabularies[@]}"; do
    members+=("$models/ggml-vocab-$vocabulary.gguf"{,.inp,.out})
  done
  tar --extract --file "$archive" --directory "$temporary/models" --strip-components 4 \
    "${members[@]}"
  # Another run may have come first; its folder is as good.
  mv --no-target-directory "$temporary/models" "$folder" 2>/dev/null || [[ -d $folder ]]
fi
echo "$folder"

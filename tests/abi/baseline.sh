#!/bin/sh
# The ABI is that of the committed baseline. baseline.sh SCRATCH_FOLDER
set -u
here=$(cd "$(dirname "$0")" && pwd)
scratch=$1
for tool in abidw abidiff; do command -v $tool >/dev/null || { echo "no $tool here (Debian's abigail-tools): skipped"; exit 77; }; done
"$here/make_baseline.sh" "$scratch" "$scratch/now.abi" || exit 1
abidiff --suppressions "$here/waived.abignore" "$here/libllama2.abi" "$scratch/now.abi" && exit 0
echo "The ABI differs from tests/abi/libllama2.abi: docs/abi.md says what may change, and how to accept a difference."
exit 1

#!/bin/sh
# Releases the model, unless the policy is against it. Needs neither the images nor torch, and takes a second.
# RELEASE_DAY=2027-01-31 ./release.sh says today whether that day's release will pass.
set -eu
privaudit verify audit/report.json --model model.safetensors --policy privaudit-policy.toml \
    --today "${RELEASE_DAY:-$(date -u +%F)}"
mkdir -p dist
cp model.safetensors audit/report.md dist/
echo "released: dist/model.safetensors"

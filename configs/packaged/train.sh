#!/bin/sh
# Trains the packaged weights anew, in six runs, each from the one before:
#
#     sh configs/packaged/train.sh --data photos/*.tar
#
# Options are passed on to every run: --set model.pretrained=FILE for ImageNet's mobilenet_v2 where
# there is no network, --set train.precision=bf16 for a GPU. Written: runs/packaged-6/packaged-6.safetensors.
set -eu
run() {
    number=$1
    shift
    accelerate launch train.py --config "configs/packaged/$number.yaml" "$@"
}
release() {
    python -m pix2color release --run "$@"
}
run 1 "$@"
run 2 "$@"
run 3 "$@"
release runs/packaged-3
run 4 "$@"
release runs/packaged-4 --out runs/packaged-4/mean.safetensors \
    --average runs/packaged-4/release.safetensors runs/packaged-3/packaged-3.safetensors
run 5 "$@"
release runs/packaged-5 --out runs/packaged-5/mean.safetensors \
    --average runs/packaged-5/release.safetensors runs/packaged-4/mean.safetensors
run 6 "$@"
release runs/packaged-6 --average runs/packaged-5/mean.safetensors \
    --size 192 --temperature 0.8 --vividness 0.52

#!/bin/sh
# Trains the packaged weights anew, in ten runs, each from what was made before it:
#
#     sh configs/packaged/train.sh --data photos/*.tar
#
# Options are passed on to every run: --set model.pretrained=FILE for ImageNet's mobilenet_v2 where
# there is no network, --set train.mixed_precision=bf16 for a GPU. Written: runs/packaged-10/packaged-10.safetensors.
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
release runs/packaged-6 --out runs/packaged-6/mean.safetensors \
    --average runs/packaged-5/mean.safetensors
run 7 "$@"
release runs/packaged-7
release runs/packaged-7 --out runs/packaged-7/mean.safetensors \
    --average runs/packaged-6/mean.safetensors
run 8 "$@"
release runs/packaged-8
release runs/packaged-8 --out runs/packaged-8/mean.safetensors \
    --average runs/packaged-6/mean.safetensors runs/packaged-7/packaged-7.safetensors
run 9 "$@"
release runs/packaged-9
release runs/packaged-9 --out runs/packaged-9/mean.safetensors \
    --average runs/packaged-6/mean.safetensors runs/packaged-7/packaged-7.safetensors \
    runs/packaged-8/packaged-8.safetensors
run 10 "$@"
release runs/packaged-10 --out runs/packaged-10/last.safetensors
# Half of the mean is run 10: its own state, and a file of it.
release runs/packaged-10 --average runs/packaged-10/last.safetensors \
    runs/packaged-9/packaged-9.safetensors runs/packaged-8/packaged-8.safetensors \
    --size 192 --temperature 0.8 --vividness 0.54

#!/usr/bin/env bash
# Copyright 2026 seg_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Checks every CUDA path and measures on the GPU of this machine, in about ten minutes:
#
#     doc/benchmarks/gpu.sh [FOLDER]
#
# What it finds goes to FOLDER, by default doc/benchmarks/<name of the GPU>. A step that fails is named and the others go
# on; the exit code is 1 then. PYTHON names the interpreter; by default that of `make venv`, else python3. SIZES,
# PRECISIONS, BATCHES and ROUNDS may be set to less, to try it out.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ -x .venv/bin/python ]; then default=.venv/bin/python; else default=python3; fi
python=${PYTHON:-$default}
sizes=${SIZES:-1024x512 2048x1024}
precisions=${PRECISIONS:-fp32 fp16}
batches=${BATCHES:-1 6}
rounds=${ROUNDS:-3}
networks='bisenetv2:head_width=1024 bisenetv2_camvid icnet:width=0.5'
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

gpu=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")')
folder=${1:-doc/benchmarks/$(tr -cs '[:alnum:]\n' _ <<<"${gpu,,}")}
mkdir -p "$folder" || exit 2
failed=()

# step NAME COMMAND...: run it, at most five minutes, with all it says in NAME.log; remember that it failed.
step() {
    local name=$1
    shift
    echo "== $name"
    if ! timeout --kill-after=10 300 "$@" >"$folder/$name.log" 2>&1; then
        failed+=("$name")
        tail -n 15 "$folder/$name.log"
    fi
}

benchmark() {
    local name=$1
    shift
    step "$name" "$python" -m seg_ros benchmark "$@" --json "$folder/$name.json"
}

echo "$gpu; results in $folder"
device=cuda
if [ "$gpu" = 'no GPU' ]; then
    echo 'PyTorch sees no CUDA device: what follows only tries the script out'
    failed+=('no CUDA device')
    device=cpu
fi

step test_cuda "$python" -m pytest -q -p no:cacheprovider test/slow/onnxruntime/test_cuda.py -k 'not tensorrt'
# Where TensorRT is installed, building its engines takes minutes.
step test_tensorrt "$python" -m pytest -q -p no:cacheprovider test/slow/onnxruntime/test_cuda.py -k tensorrt

# A process for each, as the buffers of all would not fit many a GPU.
for size in $sizes; do
    for network in $networks; do
        # shellcheck disable=SC2086  # several words are several arguments
        benchmark "engine_${network%%:*}_$size" engine --networks "$network" --sizes "$size" --device "$device" \
            --backends torch --precisions $precisions --batches $batches --rounds "$rounds" --eager --baseline --branches
    done
done

benchmark "engine_backends" engine --networks bisenetv2_camvid --sizes "${sizes%% *}" --device "$device" \
    --backends torch onnxruntime:tensorrt onnxruntime:cuda openvino --quick --rounds "$rounds"

if "$python" -c 'import rclpy' 2>/dev/null; then
    for size in $sizes; do
        benchmark "end_to_end_$size" end_to_end --sizes "$size" --device "$device"
    done
else
    echo '== end_to_end left out: no rclpy'
fi

shopt -s nullglob
results=("$folder"/*.json)
if ((${#results[@]})); then
    echo '== table'
    "$python" -m seg_ros benchmark table "${results[@]}" --markdown --plot "$folder/latency.svg" >"$folder/README.md" ||
        failed+=(table)
fi

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
echo 'all done'

#!/bin/sh
# Builds the stand-ins: FOLDER/libcuda.so.1 and FOLDER/rtc/libnvrtc.so.
# usage: build.sh FOLDER
set -e
sources=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/rtc"
cd "$1"
flags="-std=gnu11 -O2 -Wall -Wextra -shared -fPIC -fvisibility=hidden"
gcc $flags -o libcuda.part "$sources/libcuda.c" "$sources/exec.c" -lpthread -ldl
mv libcuda.part libcuda.so.1
gcc $flags -o rtc/libnvrtc.part "$sources/libnvrtc.c" -lpthread -ldl
mv rtc/libnvrtc.part rtc/libnvrtc.so
